"""Elsewhere than on Linux one plain sentence says so."""

import pytest

from streams.platform_check import platform_refusal


def test_linux_is_accepted() -> None:
    assert platform_refusal("linux") is None


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_another_platform_gets_one_line_in_two_languages(platform: str) -> None:
    said = platform_refusal(platform)
    assert said is not None
    assert "\n" not in said
    assert said.count(platform) == 2
    assert "chỉ chạy trên Linux" in said
    assert "runs on Linux or WSL2 only" in said
