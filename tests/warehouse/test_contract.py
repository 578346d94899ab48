"""A column is described once: copies in the yml are what their originals say."""

from pathlib import Path

import pytest
import yaml

from warehouse import contract

FEATURES = """
models:
  - name: feat_shop
    columns: []
    versions:
      - v: 1
        columns: &feat_shop_v1
          - {name: shop_id, config: {meta: {role: key}}}
          - name: as_of_date
            config: {meta: {role: time}}
          # Counts.
          - name: shop_n_visits_7d
            description: "Visits # not a comment, in the last: week."
            config: {meta: {role: feature, kind: dense}}

          - name: shop_n_visits_cum
            description: >
              Visits
              so far.
            config:
              meta: {role: feature}
            data_tests: [not_null]
  # The same by reference.
  - name: feat_shop_latest
    columns: *feat_shop_v1
  - name: feat_town
    versions:
      - v: 3
    columns:
    - {name: town_rate, config: {meta: {role: feature}}}
"""
MART = """
models:
  - name: mart
    versions:
      - v: 1
        columns:
          - name: event_id
          # copied: feat_shop v1
          - name: of_an_older_version
          # end
          # copied: feat_town v3
          # end
          - {name: own, description: "Its own."}
      - v: 2
        columns:
              # copied: mart v1: event_id, *_cum, ow?
              # end
              # copied: feat_shop v1: as_of_date
              # end
"""


def project(folder: Path, mart: str = MART) -> Path:
    (folder / "features").mkdir(parents=True)
    (folder / "features" / "features.yml").write_text(FEATURES)
    (folder / "mart.yml").write_text(mart)
    return folder


def columns(text: str) -> dict[int, list[dict]]:
    return {version["v"]: version["columns"] for version in yaml.safe_load(text)["models"][0]["versions"]}


def test_the_projects_copies_are_up_to_date(capsys: pytest.CaptureFixture) -> None:
    status = contract.main(["--check"])
    assert status == 0, capsys.readouterr().out


def test_a_mart_describes_no_column_of_a_feature_model_again() -> None:
    """What stands outside the copies under a feature's name says something else of it."""
    described = {
        (column.name, yaml.safe_dump(yaml.safe_load("\n".join(column.lines))))
        for path in (contract.MODELS / "features").rglob("*.yml")
        for _, _, found in contract.described_columns(path.read_text())
        for column in found
        if column.role not in contract.IDENTIFIES
    }
    kept, copying = [], False
    for line in (contract.MODELS / "marts" / "training_examples.yml").read_text().splitlines():
        copying = bool(contract.BEGIN.match(line)) or (copying and line.strip() != contract.END)
        if not copying:
            kept.append(line)
    own = {
        (column.name, yaml.safe_dump(yaml.safe_load("\n".join(column.lines))))
        for _, _, found in contract.described_columns("\n".join(kept))
        for column in found
    }
    # Of v2's windows up to the instant, these words would be true of v1's windows up to the day.
    assert {name for name, _ in own & described} == {
        "user_own_scene_n_clicks_7d",
        "user_own_scene_n_clicks_cum",
        "item_own_scene_n_clicks_7d",
        "item_own_scene_n_clicks_cum",
    }


def test_copies_are_their_originals_in_their_order(tmp_path: Path) -> None:
    after = contract.rewritten(project(tmp_path))
    shop = yaml.safe_load(FEATURES)["models"][0]["versions"][0]["columns"]
    town = yaml.safe_load(FEATURES)["models"][2]["columns"]
    own = {"name": "own", "description": "Its own."}
    assert columns(after[tmp_path / "mart.yml"]) == {
        1: [{"name": "event_id"}, *shop[2:], *town, own],
        2: [{"name": "event_id"}, shop[3], own, shop[1]],
    }
    assert after[tmp_path / "features" / "features.yml"] == FEATURES
    (tmp_path / "mart.yml").write_text(after[tmp_path / "mart.yml"])
    assert contract.rewritten(tmp_path) == after


def test_check_changes_nothing_and_shows_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(contract, "MODELS", project(tmp_path))
    assert contract.main(["--check"]) == 1
    said = capsys.readouterr()
    assert "-          - name: of_an_older_version\n" in said.out
    assert "+          - {name: town_rate, config: {meta: {role: feature}}}\n" in said.out
    assert "python -m warehouse.contract" in said.err
    assert (tmp_path / "mart.yml").read_text() == MART
    assert contract.main([]) == 0
    assert capsys.readouterr().out == f"{said.out}Wrote {tmp_path / 'mart.yml'}\n"
    assert contract.main(["--check"]) == 0
    features = tmp_path / "features" / "features.yml"
    features.write_text(features.read_text().replace("so far", "ever"))
    assert contract.main(["--check"]) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("feat_shop v1\n", "feat_shp v1\n", "no yml describes feat_shp v1, only feat_shop v1, feat_town v3, mart v1"),
        ("feat_shop v1\n", "feat_shop v2\n", "no yml describes feat_shop v2"),
        ("feat_shop v1\n", "feat_shop\n", "expected `# copied: <model> v<version>`"),
        ("*_cum", "*_30d", "no column of mart v1 matches *_30d: event_id, shop_n_visits_7d, "),
        ("          # end\n          # copied", "          # copied", "v3` stands before the `# end` of "),
        ("          # end\n          - {name: own", "          - {name: own", "ow?` stands before the `# end` of "),
        ("              # end\n", "", "as_of_date` has no `# end` after it"),
    ],
)
def test_a_wrong_copy_is_an_error_that_names_it(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MART
    with pytest.raises(contract.ContractError) as error:
        contract.rewritten(project(tmp_path, new.join(MART.rsplit(old, 1))))
    assert message in str(error.value)
    assert f"{tmp_path / 'mart.yml'}: `# copied: " in str(error.value)


def test_copies_of_each_other_have_no_original(tmp_path: Path) -> None:
    mart = """
models:
  - name: a
    versions:
      - v: 1
        columns:
          - name: x
          # copied: a v1
          # end
"""
    with pytest.raises(contract.ContractError, match="copies of each other"):
        contract.rewritten(project(tmp_path, mart))
