"""Compare two configurations, key by key."""

from typing import Any

MOST = 100  # characters of a value that is shown


def differences(there: Any, asked: Any, name: str = "") -> list[str]:
    """The differences, in lines such as "solver: Modes() in the run, ClosedForm() asked for"."""
    if isinstance(there, dict) and isinstance(asked, dict):
        keys = [*there, *(key for key in asked if key not in there)]
        inside = [(k, there.get(k, "nothing"), asked.get(k, "nothing")) for k in keys]
        return [
            line
            for key, a, b in inside
            for line in differences(a, b, f"{name}.{key}" if name else str(key))
        ]
    if there == asked:
        return []
    return [f"{name}: {_shown(there)} in the run, {_shown(asked)} asked for"]


def _shown(value: Any) -> str:
    words = str(value)
    return words if len(words) <= MOST else f"{words[: MOST // 2]} … {words[-MOST // 2 :]}"
