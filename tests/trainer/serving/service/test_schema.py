"""Requests of every kind that the OpenAPI schema allows, and of kinds that it doesn't."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.trainer.serving.service.conftest import Fitted, Make


def test_every_answer_is_as_the_schema_says(fitted: Fitted, make: Make) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="the extra `dev` has it")
    from schemathesis import checks
    from schemathesis.specs.openapi import checks as openapi_checks

    wanted = [
        checks.not_a_server_error,
        openapi_checks.status_code_conformance,
        openapi_checks.content_type_conformance,
        openapi_checks.response_schema_conformance,
    ]
    app = make().app
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    both = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    routes, statuses = [], set[tuple[str, int]]()
    for operation in schema.get_all_operations():
        found = operation.ok()
        routes.append(found.path)

        @hypothesis.settings(max_examples=30, deadline=None, derandomize=True, database=None)
        @hypothesis.given(case=st.sampled_from(both).flatmap(lambda mode: found.as_strategy(generation_mode=mode)))
        def answered(case: Any) -> None:
            statuses.add((case.path, case.call_and_validate(checks=wanted).status_code))

        answered()
    assert {("/score", 200), ("/score", 422), ("/outcome", 422), ("/health", 200)} <= statuses, statuses
    assert routes == ["/score", "/outcome", "/health", "/metrics"]
