from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from service.settings import PREFIX, Settings, SettingsError, load_settings, settings_table
from translator.decoder import MAX_ROWS
from translator.engines import ENGINES


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)


def test_the_environment_sets_and_the_command_line_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSLATE_PORT", "9000")
    monkeypatch.setenv("TRANSLATE_DEADLINE_SECONDS", "2.5")
    assert load_settings({}).port == 9000
    settings = load_settings({"port": 9001})
    assert (settings.port, settings.deadline_seconds) == (9001, 2.5)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSLATE_PORT", "")
    assert load_settings({}).port == 8000


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("TRANSLATE_PORT", "70000", "TRANSLATE_PORT=70000: Input should be less than or equal to 65535"),
        ("TRANSLATE_PORT", "http", "TRANSLATE_PORT=http"),
        ("TRANSLATE_WORKERS", "0", "TRANSLATE_WORKERS=0"),
        ("TRANSLATE_DEADLINE_SECONDS", "nan", "TRANSLATE_DEADLINE_SECONDS"),
        ("TRANSLATE_LOG_FORMAT", "xml", "'auto', 'json' or 'console'"),
        ("TRANSLATE_ENGINE", "steam", "TRANSLATE_ENGINE=steam: Input should be 'auto', 'reference', 'cpu'"),
        ("TRANSLATE_BATCH_ROWS", "0", "TRANSLATE_BATCH_ROWS=0"),
        ("TRANSLATE_QUEUE_TEXTS", "5", "TRANSLATE_QUEUE_TEXTS .5. must be at least TRANSLATE_TEXTS_PER_REQUEST"),
        ("TRANSLATE_RATE_LIMIT", "often", "'often' is no rate limit such as '60/minute'"),
        ("TRANSLATE_RATE_LIMIT_STORAGE", "ftp://x", "TRANSLATE_RATE_LIMIT_STORAGE=ftp://x"),
        ("TRANSLATE_CORS_ORIGINS", "https://a.example/path", "no origin such as https://example.org"),
        ("TRANSLATE_TRUSTED_PROXIES", "10.0.0.1, proxy", "'proxy' is no address or network"),
        ("TRANSLATE_CHARACTERS_PER_TEXT", "60000", "TRANSLATE_CHARACTERS_PER_REQUEST"),
    ],
)
def test_bad_values_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=message):
        load_settings({})


def test_a_misspelt_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSLATE_DEADLINE_SECOND", "3")
    with pytest.raises(SettingsError, match=r"TRANSLATE_DEADLINE_SECOND: .* did you mean TRANSLATE_DEADLINE_SECONDS\?"):
        load_settings({})


def test_every_setting_is_described_and_can_be_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    described = load_settings({"port": 1234, "model": "some/where"}).describe()
    for line in described.splitlines():
        if not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    assert load_settings({}) == load_settings({"port": 1234, "model": "some/where"})
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_has_every_setting_as_the_code_describes_it() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert settings_table() in readme, "print(service.settings.settings_table()) is what belongs there"


def test_the_translator_s_own_values_are_those_of_the_settings() -> None:
    """They are written out in the settings, because `--help` does not wait for torch."""
    on_processor = tuple(name for name in ENGINES if name != "cuda")
    assert get_args(Settings.model_fields["engine"].annotation) == on_processor
    assert Settings().batch_rows == MAX_ROWS


def test_the_cores_are_shared_out_among_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert Settings(workers=1).decoding_threads() == 8
    assert Settings(workers=3).decoding_threads() == 2
    assert Settings(workers=16).decoding_threads() == 1
    assert Settings(workers=2, torch_threads=3).decoding_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert Settings(workers=1).decoding_threads() == 5
