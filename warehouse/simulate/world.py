"""The world behind the log: users, items and their hidden traits, drawn once from the seed.

Shapes: U users, I items, D days, S scenes, T topics, G groups of topics. Latent effects are in logits.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .parameters import (
    FULL_EVENTS,
    N_DAYS,
    N_SCENES,
    STREAM_TEXT,
    STREAM_WORLD,
    Parameters,
)
from .texts import ENGLISH, Entities, ItemTexts, Sequences, entity_vocabulary, item_texts, user_sequences
from .vocabulary import SCENE_TOPICS, STYLES, TOPICS

N_TOPICS = len(TOPICS)
N_GROUPS = max(t.group for t in TOPICS) + 1
GROUP_OF_TOPIC = np.array([t.group for t in TOPICS])
# Values of the deep features that are ids, merchants (9) apart.
CODE_COUNTS = {
    0: 2,
    1: 7,
    2: 6,
    3: N_TOPICS,
    4: 200,
    5: 4,
    6: 24,
    7: 7,
    8: N_GROUPS,
    10: 6,
    11: 40,
    12: 100,
    13: 31,
    15: 30,
    16: 5,
    17: 500,
    18: 10,
}
N_AGES, N_GENDERS, N_TIERS = 7, 2, 6


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random stream of a purpose and block: it depends only on the seed and the key."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True)
class Users:
    """Sorted by the day they join, so those present on a day are a prefix; ids are shuffled against that order."""

    ids: pa.Array  # (U,)
    join_day: np.ndarray  # (U,)
    visits: np.ndarray  # (S, U + 1): running sum of how often each visits a scene
    taste: np.ndarray  # (U, T): unit variance
    interest: np.ndarray  # (U, T): running sum of the share of attention that each topic has
    effect: np.ndarray  # (U, D): bias with its drift
    mood: np.ndarray  # (U, D)
    scene_effect: np.ndarray  # (U, S)
    age: np.ndarray
    gender: np.ndarray
    tier: np.ndarray
    membership: np.ndarray
    propensity: np.ndarray  # (U,): deep_features_14, NaN where unknown
    segment: np.ndarray  # (U,): deep_features_3
    noise_code: np.ndarray  # (3, U): device, experiment bucket, province
    noise_number: np.ndarray  # (2, U)
    unknown: np.ndarray  # (U,): uniform; the lowest are those whose gender or age nobody knows


@dataclass(frozen=True)
class Items:
    """Sorted by scene, then topic, so a scene's or a topic's items are a range; ids are shuffled against that order."""

    ids: pa.Array  # (I,)
    scene: np.ndarray
    topic: np.ndarray
    second: np.ndarray
    birth: np.ndarray  # day of first showing; 0 or less: on offer before the log began
    traffic: np.ndarray  # (D, I + 1): running sum over items of a day's traffic
    group_start: np.ndarray  # (S * T + 1,): where the items of (scene, topic) begin
    effect: np.ndarray  # (I, D): quality with its drift
    style: np.ndarray
    merchant: np.ndarray
    price: np.ndarray  # (I,): standard normal
    quality: np.ndarray  # (I,): deep_features_26, NaN where unknown
    category: np.ndarray  # (I,): deep_features_8, -1 where unknown
    template: np.ndarray  # (I,): deep_features_15
    noise_code: np.ndarray  # (I,)


@dataclass(frozen=True)
class World:
    """All that exists before the first impression."""

    seed: int
    parameters: Parameters
    users: Users
    items: Items
    entities: Entities
    item_texts: ItemTexts
    sequences: tuple[Sequences, ...]
    codes: dict[int, np.ndarray]  # deep feature -> its codes, shuffled
    pair_key: np.uint64  # the lasting liking of an item by a user is a hash of both and this


def sizes(n_events: int, p: Parameters) -> tuple[int, int]:
    """Users and catalogue items for a log of n_events: in proportion to the full size, down to a floor."""
    share = n_events / FULL_EVENTS
    return max(p.min_users, round(p.users_at_full_size * share)), max(p.min_items, round(p.items_at_full_size * share))


def make_world(seed: int, n_events: int, p: Parameters) -> World:
    rng = stream(seed, STREAM_WORLD)
    n_users, n_items = sizes(n_events, p)
    users = _users(rng, n_users, p)
    items = _items(rng, n_items, p)
    pair_key = rng.integers(0, 2**63, dtype=np.uint64)
    codes = {number: _codes(rng, size) for number, size in CODE_COUNTS.items()} | {
        9: _codes(rng, items.merchant.max() + 1)
    }
    words = stream(seed, STREAM_TEXT)
    entities = entity_vocabulary(n_items)
    return World(
        seed=seed,
        parameters=p,
        users=users,
        items=items,
        entities=entities,
        item_texts=item_texts(words, p, entities, items.scene, items.style, items.topic, items.second),
        sequences=user_sequences(words, p, entities, users.interest),
        codes=codes,
        pair_key=pair_key,
    )


def _users(rng: np.random.Generator, n: int, p: Parameters) -> Users:
    late = rng.random(n) < p.newcomer_share
    join_day = np.sort(np.where(late, rng.integers(1, N_DAYS, n), 0))
    join_day[0] = 0  # someone is there on the first day
    activity = np.exp(p.activity_sd * rng.standard_normal(n))
    visits = activity * np.exp(p.scene_taste_sd * rng.standard_normal((N_SCENES, n)))

    age, gender = rng.choice(N_AGES, n, p=(0.08, 0.24, 0.26, 0.18, 0.12, 0.08, 0.04)), rng.integers(0, N_GENDERS, n)
    shared = rng.standard_normal((N_GENDERS, N_AGES, N_GROUPS))
    group = _mix(p.demographic_share, shared[gender, age], rng.standard_normal((n, N_GROUPS)))
    taste = _mix(p.group_share, group[:, GROUP_OF_TOPIC], rng.standard_normal((n, N_TOPICS))).astype(np.float32)
    interest = np.exp(p.topic_focus * taste.astype(np.float64))
    interest = np.cumsum(interest / interest.sum(1, keepdims=True), axis=1).astype(np.float32)

    tier = rng.choice(N_TIERS, n, p=(0.12, 0.18, 0.22, 0.20, 0.16, 0.12))
    bias = p.user * rng.standard_normal(n) + p.city_tier * np.linspace(-1.5, 1.5, N_TIERS)[tier]
    walk = np.cumsum(p.user_walk * rng.standard_normal((n, N_DAYS)), axis=1)
    propensity = bias + p.propensity_noise * rng.standard_normal(n)
    propensity[(join_day > 0) | (rng.random(n) < 0.05)] = np.nan  # the past period is unknown for newcomers
    strongest = taste.argmax(1)
    segment = np.where(rng.random(n) < p.segment_accuracy, strongest, rng.integers(0, N_TOPICS, n))
    membership = np.clip((np.log(activity) / p.activity_sd + 0.5 * rng.standard_normal(n) + 1.5), 0, 4).astype(np.int32)
    device = (200 * rng.random(n) ** 3).astype(np.int32)  # a few common models and many rare ones
    return Users(
        ids=_ids(rng, n),
        join_day=join_day,
        visits=np.concatenate([np.zeros((N_SCENES, 1)), np.cumsum(visits, axis=1)], axis=1),
        taste=taste,
        interest=interest,
        effect=(bias[:, None] + walk).astype(np.float32),
        mood=(p.user_mood * rng.standard_normal((n, N_DAYS))).astype(np.float32),
        scene_effect=(np.array(p.user_scene) * rng.standard_normal((n, N_SCENES))).astype(np.float32),
        age=age,
        gender=gender,
        tier=tier,
        membership=membership,
        propensity=propensity,
        segment=segment,
        noise_code=np.stack([device, rng.integers(0, 100, n), rng.integers(0, 31, n)]),
        noise_number=np.stack([rng.standard_normal(n), np.floor(rng.exponential(900, n))]),
        unknown=rng.random(n),
    )


def _items(rng: np.random.Generator, n: int, p: Parameters) -> Items:
    own_topics = np.array([[t.name in names for t in TOPICS] for names in SCENE_TOPICS])
    weight = np.where(own_topics, p.scene_topic_boost, 1.0)
    scene = rng.choice(N_SCENES, n, p=p.item_share)
    scene[:N_SCENES] = np.arange(N_SCENES)  # no scene is empty, however small the log
    topic = np.empty(n, np.int64)
    for s in range(N_SCENES):
        mine = scene == s
        topic[mine] = rng.choice(N_TOPICS, mine.sum(), p=weight[s] / weight[s].sum())
    order = np.lexsort((topic, scene))
    scene, topic = scene[order], topic[order]
    # The second topic is another one, from the same group half of the time.
    second = np.where(rng.random(n) < 0.5, topic // 3 * 3 + rng.integers(0, 3, n), rng.integers(0, N_TOPICS, n))
    second = np.where(second == topic, (topic + 1) % N_TOPICS, second)

    lifetime = np.array(p.lifetime_days)[scene]
    old = rng.random(n) < np.array(p.old_item_share)[scene]
    first_of_scene = np.searchsorted(scene, np.arange(N_SCENES))
    old[first_of_scene] = True  # every scene has something to show on day 0
    birth = np.where(old, -np.floor(rng.exponential(lifetime)), rng.integers(1, N_DAYS, n)).astype(np.int32)
    popularity = np.exp(p.popularity_sd * rng.standard_normal(n))
    for s in range(N_SCENES):
        popularity[scene == s] = _capped(popularity[scene == s], p.top_item_share)
    traffic = np.empty((N_DAYS, n + 1))
    for day in range(N_DAYS):
        age = day - birth
        # A new item appears at some hour of its first day: half a day's traffic.
        shown = np.where(age < 0, 0.0, np.where(age == 0, 0.5, 1.0)) * np.exp(-np.maximum(age, 0) / lifetime)
        traffic[day, 0] = 0.0
        np.cumsum(popularity * shown, out=traffic[day, 1:])

    share = np.full(len(STYLES), (1 - p.english_share) / (len(STYLES) - 1))
    share[ENGLISH] = p.english_share
    style = rng.choice(len(STYLES), n, p=share)
    n_merchants = max(N_SCENES, n // 40)
    merchant = (n_merchants * rng.random(n) ** 2).astype(np.int64)  # some merchants have many items
    of_style = p.item_style * rng.standard_normal((N_SCENES, len(STYLES)))
    of_topic = p.item_topic * rng.standard_normal((N_SCENES, N_TOPICS))
    of_merchant = p.item_merchant * rng.standard_normal(n_merchants)
    own = np.array(p.item_own)[scene] * rng.standard_normal(n)
    effect = of_style[scene, style] + of_topic[scene, topic] + of_merchant[merchant] + own
    walk = np.cumsum((p.item_walk * rng.standard_normal((n, N_DAYS))).astype(np.float32), axis=1)
    quality = effect + p.quality_noise * rng.standard_normal(n)
    quality[rng.random(n) < 0.05] = np.nan
    category = np.where(rng.random(n) < p.category_known_share, GROUP_OF_TOPIC[topic], -1)
    template = np.where(rng.random(n) < 0.5, style, rng.integers(0, 30, n))
    return Items(
        ids=_ids(rng, n),
        scene=scene,
        topic=topic,
        second=second,
        birth=birth,
        traffic=traffic,
        group_start=np.searchsorted(scene * N_TOPICS + topic, np.arange(N_SCENES * N_TOPICS + 1)),
        effect=walk + effect[:, None].astype(np.float32),
        style=style,
        merchant=merchant,
        price=rng.standard_normal(n),
        quality=quality,
        category=category,
        template=template,
        noise_code=rng.integers(0, 500, n),
    )


def _capped(weight: np.ndarray, share: float) -> np.ndarray:
    """Weights cut off where the largest would have more than `share` of all (or than three times an even share)."""
    share = max(share, 3.0 / len(weight))
    low, high = 0.0, float(weight.max())
    for _ in range(60):  # the share of the cut grows with the cut
        cut = (low + high) / 2
        low, high = (cut, high) if cut <= share * np.minimum(weight, cut).sum() else (low, cut)
    return np.minimum(weight, low)


def _mix(share: float, common: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Two standard normals into one of which `common` makes `share` of the variance."""
    return np.sqrt(share) * common + np.sqrt(1 - share) * own


def _codes(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) distinct numbers in no order, of which the log shows one for each value of an id feature."""
    return rng.permutation(3 * n + 50)[:n].astype(np.int64)


def _ids(rng: np.random.Generator, n: int) -> pa.Array:
    """(n,) distinct ids of 16 hexadecimal digits: an invertible hash, so neither order nor closeness has a meaning."""
    key = rng.integers(0, 2**63, dtype=np.uint64)
    return pa.array([f"{x:016x}" for x in mix64(np.arange(n, dtype=np.uint64) ^ key).tolist()])


def mix64(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele et al. 2014): an invertible map of 64-bit integers. Shapes: (n,) uint64 each."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
