"""Every number of the generative model, each with its reason. Nothing here was fitted to a model's score.

Three kinds: counts and rates that are facts of the real log; sizes of effects, which are plausible argument and say so;
and two totals that place the ceiling (`overall`, and by scene) near what honest public trainers reach on the real log.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

MODEL_VERSION = 1  # raise it when the same parameters would give other bytes

# Facts of the real log.
FULL_EVENTS = 11_190_985
FIRST_DAY = "2023-07-10"
N_DAYS = 31
VAL_DAY, TEST_DAY = 24, 26  # days since FIRST_DAY on which validation and test begin
VAL_FROM, TEST_FROM = "2023-08-03 00:00:00", "2023-08-05 00:00:00"
PERIOD_ROWS = (8_536_558, 721_500, 1_932_927)  # train, val, test
PERIOD_RATES = (0.324, 0.371, 0.380)
PERIOD_SCENE_ROWS = ((535, 2226, 4076, 1024, 676), (35, 153, 449, 52, 34), (83, 379, 1174, 194, 103))  # thousands
SCENES = ("0", "1", "2", "3", "4")
SCENE_KINDS = ("advertisements", "coupons", "mini-programs", "contents", "videos")
N_SCENES = len(SCENES)

TEXT_COLUMNS = ("bill_entity_seq", "service_entity_seq", "query_entity_seq", "item_entity_names", "item_title")
NUMERIC_FEATURES = (14, 19, 20, 21, 22, 23, 24, 25, 26)
N_DEEP_FEATURES = 27
COLUMNS = (
    "user_id",
    "item_id",
    "log_time",
    "label",
    *TEXT_COLUMNS,
    "scene",
    *(f"deep_features_{i}" for i in range(N_DEEP_FEATURES)),
)

BLOCK_ROWS = 131_072  # the unit of the random streams; no row depends on which thread made its block
PROBABILITY_STEPS = 1_000_000  # a true probability is a multiple of 1e-6, and its label is drawn from exactly that

# Random streams: SeedSequence(seed, spawn_key=(stream, block)).
STREAM_WORLD, STREAM_TEXT, STREAM_PILOT, STREAM_BLOCK = range(4)


@dataclass(frozen=True)
class Parameters:
    """The generative model's numbers. Units: logits, unless the name says rows, days or a share.

    A tuple of five is by scene: advertisements, coupons, mini-programs, contents, videos.
    """

    # --- who and what
    users_at_full_size: int = 68_700  # 67,604 users occur in the real train split; some come only after it
    items_at_full_size: int = 135_000  # catalogue; about 85,000 are ever shown, 70,000 of them in train: a fact
    min_users: int = 60
    min_items: int = 150
    activity_sd: float = 0.92  # log-normal; gives the real 65,107 users in 2 days and 67,115 in 5
    newcomer_share: float = (
        0.06  # of users, joining evenly over days 1..30: what the real counts of users leave room for
    )
    item_share: tuple[float, ...] = (0.25, 0.20, 0.10, 0.25, 0.20)  # few mini-programs, many contents and ads
    popularity_sd: float = 2.6  # log-normal; with the lifetimes it gives the real count of items in 2, 5 and 24 days
    top_item_share: float = (
        0.05  # no item has more of its scene's popularity (in a tiny scene: than three items' worth)
    )
    lifetime_days: tuple[float, ...] = (3.0, 4.0, 15.0, 2.0, 2.5)  # exponential decay of an item's traffic
    old_item_share: tuple[float, ...] = (0.25, 0.30, 0.60, 0.15, 0.20)  # on offer before the log begins
    scene_taste_sd: float = 0.7  # how unlike users are in the scenes that they visit

    # --- topics
    topic_focus: float = 2.0  # interest in a topic is as exp(topic_focus * taste): some five topics per user
    group_share: float = 0.5  # of the variance of taste, shared by the topics of a group
    demographic_share: float = 0.2  # of the group's part, shared by people of an age and gender
    scene_topic_boost: float = 4.0  # a scene holds this many times more items of its own topics
    targeted_share: tuple[float, ...] = (0.30, 0.30, 0.30, 0.45, 0.45)  # impressions that follow the user's interests
    second_topic_weight: float = 0.5  # of an item, against 1 for its main topic

    # --- clicks: facts
    # By scene, train period. Chosen so that the real shares of scenes explain most of the real rise of the overall
    # rate from .324 to .371 and .380: scene 2 about .50 and the others .17 on average; ads lowest is common knowledge.
    scene_rates: tuple[float, ...] = (0.06, 0.09, 0.497, 0.28, 0.32)
    period_rates: tuple[float, ...] = PERIOD_RATES

    # --- clicks: sizes of effects, as standard deviations of the logit
    taste: tuple[float, ...] = (0.50, 0.65, 0.45, 0.90, 0.80)  # topic match: weak where one goes on purpose (scene 2)
    user: float = 0.50
    user_scene: tuple[float, ...] = (0.35, 0.35, 1.00, 0.35, 0.35)  # people use a mini-program or they don't
    user_walk: float = 0.05  # a day's step of a user's drift
    user_mood: float = 0.30  # a user's day: nothing before the day tells it, the day's earlier rows do
    item_style: float = 0.30  # of a title's style, by scene: what text reveals about a new item besides its topic
    item_topic: float = 0.25  # of a topic, by scene
    item_merchant: float = 0.25
    item_own: tuple[float, ...] = (0.45, 0.45, 1.30, 0.45, 0.45)  # only history tells
    item_walk: float = 0.06
    novelty: tuple[float, ...] = (0.10, 0.05, 0.0, 0.25, 0.25)  # extra logit at age 0, gone with exp(-age / 3 days)
    user_item: tuple[float, ...] = (0.25, 0.25, 1.20, 0.25, 0.25)  # lasting like or dislike of one item by one user
    slot: float = 0.50  # logits lost from the first slot to the sixth
    hour: float = 0.12
    network: tuple[float, ...] = (0.0, 0.0, 0.0, 0.05, 0.15)  # videos suffer from a poor network
    distance: float = 0.35  # coupons: per standard deviation of log distance
    price: float = 0.15  # advertisements and coupons: per standard deviation of log price
    city_tier: float = 0.12

    # --- the text of an item and of a user
    no_title_share: float = 0.03  # of items
    no_entities_share: float = 0.12
    altered_title_share: float = 0.0019  # of rows: 21,445 rows of the real log carry another title of their item
    varying_entities_share: float = 0.088  # of items: 247 of 2,820 sampled
    multiline_share: float = 0.02  # of titles
    english_share: float = 0.07
    other_topic_share: tuple[float, ...] = (0.30, 0.20, 0.10)  # of bill, service, query entities: any topic
    sequence_length: tuple[tuple[int, int], ...] = ((4, 10), (3, 8), (2, 6))
    sequence_days: tuple[int, ...] = (10, 7, 4)  # a new entity comes, and the oldest goes, every so many days
    no_sequence_share: tuple[float, ...] = (0.10, 0.05, 0.25)  # of users
    missing_sequence_share: tuple[float, ...] = (0.01, 0.01, 0.05)  # of rows, by chance

    # --- deep features
    propensity_noise: float = 0.80  # deep_features_14 = user effect + noise (in logits)
    relevance_noise: float = 2.50  # deep_features_22 = taste + noise (in standard deviations of taste)
    quality_noise: float = 1.20  # deep_features_26 = item effect + noise (in logits)
    segment_accuracy: float = 0.40  # deep_features_3 names the user's strongest topic this often, else any
    category_known_share: float = 0.70  # of items with a coarse category in deep_features_8

    def as_json(self) -> dict:
        """Names to plain JSON values (tuples become lists, as they come back from a file)."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def field_names() -> tuple[str, ...]:
    return tuple(f.name for f in fields(Parameters))
