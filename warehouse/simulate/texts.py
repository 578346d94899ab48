"""Texts from topics: the entity vocabulary, item titles and entity lists, and users' bill, service and query sequences.

Shapes: U users, I items, T topics, V versions of a user's sequence.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .parameters import N_DAYS, Parameters
from .vocabulary import ALTERED, CITIES, MANNERS, STYLES, SUFFIXES, TEMPLATES, TOPICS

ENGLISH = STYLES.index("english")


@dataclass(frozen=True)
class Entities:
    """The entity vocabulary: words of topic t are rows starts[t]:starts[t + 1] of names, in descending order of use."""

    names: pa.Array
    starts: np.ndarray  # (T + 1,)
    cumulative: np.ndarray  # (names,): running sum of use within a topic, topic t in (t, t + 1]

    def draw(self, topics: np.ndarray, u: np.ndarray) -> np.ndarray:
        """One entity per topic. Shapes: topics (n,), u (n,) uniform in [0, 1) -> (n,) row numbers of names."""
        rows = np.searchsorted(self.cumulative, topics + u, side="right")
        return np.minimum(rows, self.starts[topics + 1] - 1)


def entity_vocabulary(n_items: int) -> Entities:
    """Every topic's words, then words with a suffix or a city; about 46 per topic and one more for every 120 items.

    Use within a topic falls as 1 / (rank + 3), so the plain words stay common however large the log.
    """
    n_more = n_items // 120
    names, starts, cumulative = [], [0], []
    for number, topic in enumerate(TOPICS):
        words = [*topic.words, *topic.english]
        made = [w + s for s in SUFFIXES for w in topic.words] + [c + w for c in CITIES for w in topic.words]
        # A step of 7, which has no factor in common with their number, mixes words and endings and repeats none.
        words += [made[(7 * k) % len(made)] for k in range(min(n_more, len(made)))]
        use = np.cumsum(1.0 / (np.arange(len(words)) + 3.0))
        names += words
        starts.append(len(names))
        cumulative.append(number + use / use[-1])
    return Entities(pa.array(names), np.array(starts), np.concatenate(cumulative))


@dataclass(frozen=True)
class ItemTexts:
    """titles and alternatives: (I,) strings or NULL; entity list k of item i is row first_I[i] + k, k < count_I[i]."""

    titles: pa.Array
    altered: pa.Array
    entity_lists: pa.Array
    first: np.ndarray
    count: np.ndarray


def item_texts(
    rng: np.random.Generator,
    p: Parameters,
    entities: Entities,
    scene: np.ndarray,
    style: np.ndarray,
    topic: np.ndarray,
    second: np.ndarray,
) -> ItemTexts:
    """Compose every item's texts. Shapes: scene, style, topic, second are (I,) ints."""
    n = len(scene)
    n_lists = np.where(rng.random(n) < p.varying_entities_share, rng.integers(2, 4, n), 1)
    # Several lists for an item, 1 to 4 entities each; three in ten entities come from its second topic.
    length = rng.integers(1, 5, int(n_lists.sum()))
    owner = np.repeat(np.repeat(np.arange(n), n_lists), length)
    of = np.where(rng.random(len(owner)) < 0.3, second[owner], topic[owner])
    words = entities.draw(of, rng.random(len(owner)))
    lists = _joined(entities.names, words, length)
    none = np.repeat(rng.random(n) < p.no_entities_share, n_lists)
    lists = pc.if_else(pa.array(none), pa.scalar(None, pa.string()), lists)

    numbers = rng.integers(2, 100, n)
    draws = rng.random((6, n))
    word, other = entities.draw(topic, draws[0]), entities.draw(second, draws[1])
    # A title uses the plain words of a topic, so its words are among the first of the vocabulary.
    word = np.where(word - entities.starts[topic] < 40, word, entities.starts[topic] + numbers % 40)
    word, other = entities.names.take(pa.array(word)).to_pylist(), entities.names.take(pa.array(other)).to_pylist()
    titles, altered, n_of = [], [], numbers.tolist()
    # Titles are read off a few draws an item; a loop is quick enough (one second for the full catalogue).
    for i, (s, y, t, template, manner, city, more) in enumerate(
        zip(scene.tolist(), style.tolist(), topic.tolist(), *draws[2:5].tolist(), draws[5].tolist(), strict=True)
    ):
        choices = TEMPLATES[s][STYLES[y]]
        english = TOPICS[t].english
        slots = {
            "w": word[i],
            "v": other[i],
            "m": MANNERS[int(manner * len(MANNERS))],
            "c": CITIES[int(city * len(CITIES))],
            "n": n_of[i],
            "e": english[int(more * len(english))],
        }
        title = choices[int(template * len(choices))].format(**slots)
        titles.append(title)
        altered.append(ALTERED[int(more * len(ALTERED))].format(t=title, **slots))
    multiline = rng.random(n) < p.multiline_share
    for i in np.flatnonzero(multiline).tolist():
        titles[i] = f"{titles[i]}\n{MANNERS[i % len(MANNERS)]}{word[i]}"
    none = pa.array(rng.random(n) < p.no_title_share)
    null = pa.scalar(None, pa.string())
    return ItemTexts(
        titles=pc.if_else(none, null, pa.array(titles)),
        altered=pc.if_else(none, null, pa.array(altered)),
        entity_lists=lists,
        first=np.concatenate([[0], np.cumsum(n_lists)[:-1]]),
        count=n_lists,
    )


@dataclass(frozen=True)
class Sequences:
    """One kind of user sequence. Version v of user u is row u * n_versions + v; it changes every `days`."""

    lists: pa.Array
    n_versions: int
    days: int
    phase: np.ndarray  # (U,): days by which the user's first change comes earlier

    def rows(self, user: np.ndarray, day: int) -> np.ndarray:
        return user * self.n_versions + (day + self.phase[user]) // self.days


def user_sequences(
    rng: np.random.Generator, p: Parameters, entities: Entities, interest: np.ndarray
) -> tuple[Sequences, ...]:
    """Bill, service and query sequences. Shapes: interest (U, T) cumulative over T -> three Sequences.

    Each user has a stream of entities, a sequence is a window on it, and the window moves by one entity every
    `sequence_days`. So neighbouring versions share all entities but one, and a user has few distinct sequences.
    """
    n_users, n_topics = interest.shape
    kinds = []
    for kind, days in enumerate(p.sequence_days):
        low, high = p.sequence_length[kind]
        versions = (N_DAYS + days - 2) // days + 1
        width = high + versions - 1
        topics = draw_topics(interest, np.repeat(np.arange(n_users), width), rng.random(n_users * width))
        chance = rng.random(n_users * width) < p.other_topic_share[kind]
        topics = np.where(chance, rng.integers(0, n_topics, n_users * width), topics)
        stream = entities.draw(topics, rng.random(n_users * width)).reshape(n_users, width)
        length = np.repeat(rng.integers(low, high + 1, n_users), versions)
        user = np.repeat(np.arange(n_users), versions)
        start = user * width + np.tile(np.arange(versions), n_users)
        ends = np.cumsum(length)
        inside = np.arange(ends[-1]) - np.repeat(ends - length, length)
        words = stream.ravel()[np.repeat(start, length) + inside]
        none = np.repeat(rng.random(n_users) < p.no_sequence_share[kind], versions)
        lists = pc.if_else(pa.array(none), pa.scalar(None, pa.string()), _joined(entities.names, words, length))
        kinds.append(Sequences(lists, versions, days, np.asarray(rng.integers(0, days, n_users))))
    return tuple(kinds)


def draw_topics(interest: np.ndarray, user: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A topic for each draw. Shapes: interest (U, T) cumulative, user (n,), u (n,) uniform -> (n,) ints below T."""
    out = np.empty(len(user), np.int64)
    for at in range(0, len(user), 1 << 17):  # (n, T) comparisons, so not all at once
        part = slice(at, at + (1 << 17))
        out[part] = (u[part, None] >= interest[user[part], :-1]).sum(1)
    return out


def _joined(names: pa.Array, words: np.ndarray, length: np.ndarray) -> pa.Array:
    """names[words] cut into lists of the given lengths, each joined by a comma."""
    offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int32)
    flat = names.take(pa.array(words))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), flat), ",")
