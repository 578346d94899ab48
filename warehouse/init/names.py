"""What columns of logs are called, by what they are: names without case, blanks and signs (`userId` is userid)."""

import re
from pathlib import Path

import yaml


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def words(name: str) -> list[str]:
    """The words of a name: `isClicked`, `is_clicked` and `IS-CLICKED` have two."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return re.findall(r"[a-z]+|[0-9]+", spaced.lower())


def slug(name: str) -> str:
    """A name that SQL and YAML take as it is."""
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    return found if re.match(r"[a-z_]", found) else f"c_{found}"


NAMES = {
    role: frozenset(known)
    for role, known in yaml.safe_load(Path(__file__).with_name("names.yaml").read_text(encoding="utf-8")).items()
}
USER, ITEM, LABEL, SURE_LABEL = NAMES["user"], NAMES["item"], NAMES["label"], NAMES["sure_label"]
ITEM_LIST = NAMES["item_list"] | ITEM
TIME, KNOWN, SCENE, EVENT_ID = NAMES["time"], NAMES["known"], NAMES["scene"], NAMES["event_id"]
TITLE, ENTITIES, USER_TEXT = NAMES["title"], NAMES["entities"], NAMES["user_text"]
OUTCOME, RESERVED = NAMES["outcome"], NAMES["reserved"]
