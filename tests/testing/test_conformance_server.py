"""The kits of caches and storages find a backend that handles a broken server wrongly."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

_GONE = "test_a_server_that_is_gone_is_reported_by_each_operation"
_SILENT = "test_a_server_that_falls_silent_ends_the_call"
_CUT = "test_a_cut_answer_is_an_error_and_not_a_result"
_CUT_WRITE = "test_a_write_whose_answer_is_cut_is_an_error_and_sent_once"
_NONSENSE = "test_an_answer_of_another_protocol_is_an_error"
_DENIED = "test_refused_credentials_are_an_error_that_does_not_show_them"

FOUND_BY = {
    "CallsAnOutageAnError": (
        _GONE,
        "get must raise CacheUnavailable if the server is gone, raised CacheError",
    ),
    "ChainsForeignErrors": (_GONE, "to its error: raise it with llmcore.support.errors.raise_unchained"),
    "ClearsNothingInAnOutage": (_GONE, "clear must raise CacheError if the server is gone, returned None"),
    "DeletesNothingInAnOutage": (_GONE, "delete must raise CacheError if the server is gone, returned False"),
    "DropsWritesInAnOutage": (_GONE, "set must raise CacheError if the server is gone, returned None"),
    "FindsNothingInAnOutage": (_GONE, "exists must raise StorageError if the server is gone, returned False"),
    "KeepsTheConnectionAfterATimeout": (_SILENT, "which is not the value of its key"),
    "KeepsTheConnectionAfterCancellation": (
        "test_a_cancelled_call_leaves_no_answer_to_the_next",
        "after a cancelled call, a call got the answer to another call",
    ),
    "LetsForeignErrorsOut": (_GONE, "get must raise CacheError if the server is gone, raised Connection"),
    "ListsNothingInAnOutage": (
        _GONE,
        "list_files must raise StorageError if the server is gone, returned []",
    ),
    "LoadsAPart": (_CUT, "load must raise StorageError if the server cuts an answer after 40 bytes"),
    "SavesInSilence": (_GONE, "save must raise StorageError if the server is gone, returned None"),
    "LosesTheMessage": (_GONE, "get raised CacheUnavailable without a message"),
    "SendsWritesThreeTimes": (_CUT_WRITE, "must be sent at most 1 times, the server got it 3 times"),
    "ShowsThePassword": (_DENIED, "the key is in an error"),
    "StaysBroken": (_CUT_WRITE, "CacheUnavailable"),
    "StreamsEndWellIfCut": (_CUT, "load_stream must raise StorageError if the server cuts an answer"),
    "TakesAClosedConnectionForAMiss": (
        _CUT,
        "get must raise CacheError if the server cuts an answer after 0 bytes",
    ),
    "TakesARefusalForAMiss": (_DENIED, "get must raise CacheError if the server refuses the credentials"),
    "TakesARefusalForAnOutage": (
        _DENIED,
        "load must raise StorageDenied if the server refuses the credentials",
    ),
    "TakesOddAnswersForMisses": (
        _NONSENSE,
        "get must raise CacheError if the server answers in another protocol",
    ),
    "TakesOutagesForMisses": (_GONE, "get must raise CacheError if the server is gone, returned None"),
    "TakesOutagesForMissingFiles": (_GONE, "load must raise StorageUnavailable if the server is gone"),
    "TakesThePartForTheValue": (
        _CUT,
        "get must raise CacheError if the server cuts an answer after 40 bytes",
    ),
    "WaitsForEver": (_SILENT, "get did not return within"),
}
CORRECT = {"Cache", "AsyncCache", "Storage"}
TESTS = "proxy or is_gone or falls_silent or cut_answer or answer_is_cut or another_protocol or cancelled_call or credentials"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("server.py", tmp_path_factory, "-k", TESTS, found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", sorted(CORRECT))
def test_a_correct_backend_passes(outcomes: Outcomes, backend: str) -> None:
    assert list_failures(outcomes[backend]) == []
    assert {how for how, _ in outcomes[backend].values()} == {"passed"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_backend_that_handles_a_broken_server_wrongly_fails_in_the_named_test(
    outcomes: Outcomes, backend: str
) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_backend_has_a_named_test(outcomes: Outcomes) -> None:
    assert set(outcomes) - CORRECT == set(FOUND_BY)
