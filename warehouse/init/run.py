"""From files to a project, and what to tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.init.adapter import adapter_of, remarks
from warehouse.init.asking import Asker
from warehouse.init.choice import Answers
from warehouse.init.columns import Sample
from warehouse.init.files import find_log
from warehouse.init.project import Outcome, check_place, link_log, write_project
from warehouse.init.roles import Roles, choose_roles
from warehouse.init.scope import Scope, look_at_all


@dataclass(frozen=True)
class Told:
    place: Path
    name: str
    raw_dir: str
    n_files: int
    sample: Sample
    roles: Roles
    scope: Scope
    outcome: Outcome

    def as_json(self) -> dict[str, object]:
        adapter = adapter_of(self.roles, self.sample)
        return {
            "project": str(self.place),
            "dataset": self.name,
            "raw_dir": self.raw_dir,
            "rows": self.scope.n_rows,
            "positive_rate": self.scope.positive_rate,
            "columns": {one.name: one.source or None for one in adapter.columns},
            "unused": self.roles.unused,
            "scenes": self.scope.scenes,
            "val_from": str(self.scope.val_from),
            "test_from": str(self.scope.test_from),
            "written": self.outcome.written,
            "updated": self.outcome.updated,
            "unchanged": self.outcome.unchanged,
            "left_alone": self.outcome.left_alone,
        }

    def as_text(self) -> str:
        scope, outcome = self.scope, self.outcome
        files = "1 file" if self.n_files == 1 else f"{self.n_files:,} files"
        rate = f"{scope.positive_rate:.1%} positive"
        lines = [f"{scope.n_rows:,} impressions in {files}, {rate}, {scope.first} to {scope.last}.", ""]
        for one in adapter_of(self.roles, self.sample).columns:
            lines.append(f"  {one.name:14} {one.source or 'none: ' + one.why}")
        notes = remarks(self.roles, self.sample)
        lines += ["", "Not used:", *(f"  {line}" for line in notes)] if notes else []
        scenes = ", ".join(f"{scene} {n:,}" for scene, n in list(scope.scenes.items())[:10])
        lines += [
            "",
            f"Scenes: {scenes}{' ...' if len(scope.scenes) > 10 else ''}",
            f"Train up to {scope.val_from} ({scope.share_before_val:.1%} of the rows), validation up to "
            f"{scope.test_from}, then test.",
        ]
        if scope.n_unreadable_times:
            lines.append(
                f"Rows that the build will reject, since their time can't be read: {scope.n_unreadable_times:,}."
            )
        if scope.n_without_scene:
            lines.append(f"Rows that the build will reject, since they have no scene: {scope.n_without_scene:,}.")
        lines.append("")
        for what, paths in (
            ("Written", outcome.written),
            ("Renewed", outcome.updated),
            ("Left alone, since it was edited", outcome.left_alone),
        ):
            if paths:
                lines.append(f"{what}: {', '.join(paths)}")
        if not (outcome.written or outcome.updated):
            lines.append("Nothing was written.")
        context = [column.name for column in (*self.roles.dense, *self.roles.ids)]
        if context:
            more = f" and {len(context) - 8} more" if len(context) > 8 else ""
            lines.append(
                f"Check that these are known when an item is shown, no test can: {', '.join(context[:8])}{more}"
            )
        return "\n".join(
            [*lines, "", f"Next: cd {self.place} && dbt deps && dbt build; {self.place}/README.md goes on."]
        )


def init(place: Path, log: Sequence[str], delimiter: str | None, names: Sequence[str] | None, answers: Answers) -> Told:
    """Look at the log and write its project. Raises: InitError, ReadingError."""
    name = check_place(place)
    files = find_log(log, delimiter, names)
    sample = Sample(files, answers.item)
    roles = choose_roles(sample, answers, Asker())
    scope = look_at_all(sample, roles)
    raw_dir = link_log(files, place, name)
    outcome = write_project(place, name, raw_dir, sample, roles, scope)
    return Told(place, name, raw_dir, len(files.files), sample, roles, scope, outcome)
