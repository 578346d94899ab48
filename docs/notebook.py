# %% [markdown]
# # A run in a notebook
#
# Load marts with DuckDB, load a finished run, predict, look at calibration, look at text vectors. Run it after
# `make demo`, from the project's folder: cell by cell in an editor that knows `# %%`, or whole as
# `python docs/notebook.py`. The variable RUN names another run, VECTORS another folder of vectors.

# %%
import os
from pathlib import Path

import duckdb
import numpy as np

from embeddings import EmbeddingsError, Encoder, Whitening, find_store, read_texts
from trainer import load_run

# %% [markdown]
# ## The run
# It knows the marts it was trained on, the columns it reads, and what it reached.

# %%
run = load_run(os.environ.get("RUN", "runs/movielens/01_dnn"))
marts = Path(run.lineage["marts"])
print(f"{run.path}: {len(run.columns)} columns of {marts / run.lineage['mart']}, scenes {', '.join(run.scenes)}")
print(f"AUC on test {run.metrics['splits']['test']['auc']:.4f}")

# %% [markdown]
# ## The marts
# Parquet, so SQL reads them where they lie. Here: how many rows, how many clicks, how much of it cold.

# %%
examples = duckdb.read_parquet(f"{marts / run.lineage['mart']}/event_date=*/*.parquet", hive_partitioning=True)
duckdb.sql("""
    select
        split, count(*) as n, round(avg(label), 4) as click_rate,
        round(avg((user_level = 'zero')::int), 3) as new_users,
        round(avg((item_level = 'zero')::int), 3) as new_items
    from examples where split <> 'excluded' group by split order by min(event_at)
""").show()

# %% [markdown]
# ## Predict
# Any table that speaks Arrow will do: a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation. Probabilities
# come in the order of the rows. A row needs the columns in `run.columns`; label, split and time are not among them.

# %%
rows = duckdb.sql("select * from examples where split = 'test' order by event_id limit 100000").to_arrow_table()
scored = rows.select(["event_id", "scene", "label"]).append_column("probability", [run.predict(rows)])

# %% [markdown]
# ## Do probabilities mean what they say?
# Rows in tenths by probability, a line a tenth: what was said beside what happened.

# %%
duckdb.sql("""
    with binned as (select *, ntile(10) over (order by probability, event_id) as tenth from scored)
    select
        tenth, count(*) as n, round(avg(probability), 4) as said, round(avg(label), 4) as happened,
        round(avg(probability) - avg(label), 4) as difference
    from binned group by tenth order by tenth
""").show()
duckdb.sql("""
    select scene, count(*) as n, round(avg(probability), 4) as said, round(avg(label), 4) as happened
    from scored group by scene order by scene
""").show()

# %% [markdown]
# ## Texts
# Vectors are stored once a text. Raw ones crowd together; whitened, unrelated texts have a cosine near 0, and the
# nearest ones can be told. Vectors are made by `embeddings pull e5-small` and `embeddings build`, see
# docs/choose-an-encoder.md; without them this part says so and stops.

# %%
VECTORS = Path(os.environ.get("VECTORS", "data/vectors"))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


try:
    store = find_store(VECTORS, "e5-small")
except EmbeddingsError as error:
    store = None
    print(f"No vectors to look at: {error}")

if store is not None:
    texts = read_texts(marts)
    titles = texts.take((texts.side == "title") & ~texts.empty & (texts.n_train_rows > 0))
    vectors, found = store.load(titles.ids)
    words, vectors, n_rows = np.array(titles.texts)[found], vectors[found], titles.n_rows[found]
    whitening = Whitening(min(128, vectors.shape[1] // 2)).fit(vectors)
    raw, white = unit(vectors), unit(whitening.transform(vectors))
    for name, of_unit in (("as encoded", raw), ("whitened", white)):
        print(f"{name}: mean cosine of a title to the next one {(of_unit[1:] * of_unit[:-1]).sum(1).mean():.3f}")
    for k in np.argsort(-n_rows)[:5]:
        near = np.argsort(-(white @ white[k]))[1:4]
        print(f"{words[k]}: {' | '.join(words[near])}")

# %% [markdown]
# A text of your own needs the encoder itself.

# %%
if store is not None:
    try:
        asked = "A toy cowboy is jealous of a space ranger"
        vector = Encoder.open("e5-small", dtype=store.recipe.dtype).encode([asked])
        near = np.argsort(-(white @ unit(whitening.transform(vector))[0]))[:3]
        print(f"{asked}: {' | '.join(words[near])}")
    except EmbeddingsError as error:
        print(f"No encoder to ask: {error}")
