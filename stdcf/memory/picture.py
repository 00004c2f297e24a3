"""The picture of a step's memory: one HTML file that loads nothing from anywhere."""

import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.memory.timeline import WORKSPACES, Timeline, module_groups
from stdcf.whole_file import check_replaceable, write_atomically

# From the bottom of the stack: what stays longest first.
KINDS = (
    *("parameters", "buffers", "optimizer_state", "batch", "gradient_buckets", "gradients"),
    *("activations", "temporaries", WORKSPACES),
)
_OUTSIDE = "(outside of modules)"


def write_picture(timeline: Timeline, path: Path, facts: str, title: str = "") -> Path:
    """Writes the picture; returns where.

    Args:
        facts: the report in words.
        title: what was trained; "" leaves it out.

    Raises:
        UserError: if the file cannot be written, or is something else's.
    """
    check_replaceable(path, "<!doctype html>", "a timeline")
    html = picture(timeline, facts, title)
    try:
        write_atomically(path.resolve(), html)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; give another file") from error
    return path


def picture(timeline: Timeline, facts: str, title: str = "") -> str:
    """The page. A content security policy lets nothing but its own script and style run."""
    page = (files("stdcf.memory") / "timeline.html").read_text(encoding="utf-8")
    content = {"title": title, "facts": facts.splitlines(), **_drawn(timeline)}
    # Within a script element nothing but "<" could end it.
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    policy = "; ".join(["default-src 'none'", "base-uri 'none'", *_hashes(page)])
    return page.replace("__POLICY__", policy).replace("__DATA__", data)


def _hashes(page: str) -> list[str]:
    found = []
    for element in ("script", "style"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        found.append(f"{element}-src 'sha256-{digest}'")
    return found


def _drawn(timeline: Timeline) -> dict[str, Any]:
    """What the script draws: texts once, and of each storage numbers alone."""
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    group = module_groups(timeline)
    ends = {time for life in timeline.on_device for time in (life.born, timeline.death(life))}
    peak, end = timeline.highest_time(), len(timeline.moments)
    # Operators that neither make nor free anything are left out.
    times = sorted({0, peak, *ends} - {end})
    place = {time: index for index, time in enumerate([*times, end])}
    lives = [
        [
            life.n_bytes,
            place[life.born],
            place[timeline.death(life)],
            KINDS.index(life.final_category()),
            number(group(life.module) or _OUTSIDE),
            number(life.module),
            number(life.operator),
            number(life.name),
            number("×".join(map(str, life.shape)) + f" {life.dtype}" if life.dtype else ""),
        ]
        for life in timeline.on_device
    ]
    moments = [(time, timeline.moments[time]) for time in times]
    return {
        "kinds": KINDS,
        "lives": lives,
        "moments": [[t, number(m.phase), number(m.operator), number(m.module)] for t, m in moments],
        "operators": end - 1,
        "peak": place[peak],
        "texts": list(texts),
    }
