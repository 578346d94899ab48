import pyarrow.parquet as pq
import pytest

from embeddings import EmbeddingsError, read_texts
from embeddings.errors import NoTextsError
from embeddings.texts import list_hash


def test_reads_every_part_in_the_order_of_ids(write_mart):
    texts = read_texts(write_mart(["Toy Story", "Jumanji", "Heat", "咖啡"], files=3))
    assert sorted(texts.texts) == ["Heat", "Jumanji", "Toy Story", "咖啡"]
    assert texts.ids == sorted(texts.ids)
    assert texts.n_rows.tolist() == [3] * 4 and texts.n_cold_rows.tolist() == [1] * 4


def test_takes_the_texts_folder_itself_too(write_mart):
    marts = write_mart(["Heat"])
    assert read_texts(marts / "texts").ids == read_texts(marts).ids


def test_flags_empty_texts_and_nulls(write_mart):
    texts = read_texts(write_mart(["Heat", "  \n ", "", (None, "user", 1, 1, 1)]))
    assert texts.empty.sum() == 3
    assert [t for t, empty in zip(texts.texts, texts.empty, strict=True) if not empty] == ["Heat"]


def test_invalid_utf8_is_replaced_and_named(write_mart):
    texts = read_texts(write_mart([b"good", b"caf\xe9 noir", "with a real \ufffd inside"]))
    assert len(texts.repaired) == 1
    assert texts.texts[texts.ids.index(texts.repaired[0])] == "caf\ufffd noir"


def test_refuses_a_mart_whose_texts_are_all_empty(write_mart):
    with pytest.raises(EmbeddingsError, match=r"All 2 texts .* are empty"):
        read_texts(write_mart(["", "   "]))


def test_a_log_without_texts_is_told_from_a_mart_without_files(write_mart):
    """DuckDB writes a file without rows, Spark writes none; the build record says which is which."""
    marts = write_mart(["Heat"])
    path = marts / "texts" / "part-0.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(NoTextsError, match="has no texts"):
        read_texts(marts)
    path.unlink()
    with pytest.raises(EmbeddingsError, match="holds no Parquet files"):
        read_texts(marts)
    (marts / "texts/_build").mkdir(exist_ok=True)
    (marts / "texts/_build/part-0.json").write_text('{"n_rows": 0}')
    with pytest.raises(NoTextsError, match="has no texts"):
        read_texts(marts)


def test_refuses_a_folder_without_texts(tmp_path):
    with pytest.raises(EmbeddingsError, match=r"found none.*dbt build"):
        read_texts(tmp_path)


def test_names_the_datasets_when_there_are_several(write_mart, tmp_path):
    write_mart(["a"], name="all/one")
    write_mart(["b"], name="all/two")
    with pytest.raises(EmbeddingsError, match=r"one.*two"):
        read_texts(tmp_path / "all")


def test_names_a_missing_column(write_mart):
    marts = write_mart(["Heat"])
    path = marts / "texts" / "part-0.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["n_cold_rows"]), path)
    with pytest.raises(EmbeddingsError, match="lacks the column n_cold_rows"):
        read_texts(marts)


def test_refuses_an_id_that_occurs_twice(write_mart):
    with pytest.raises(EmbeddingsError, match="occurs twice"):
        read_texts(write_mart(["Heat", "Heat"]))


def test_names_a_truncated_file(write_mart):
    marts = write_mart(["Heat"])
    path = marts / "texts" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(EmbeddingsError, match="can't be read as Parquet"):
        read_texts(marts)


def test_list_hash_is_of_the_set():
    assert list_hash(["a", "b"]) == list_hash(["b", "a"]) != list_hash(["a", "c"])
