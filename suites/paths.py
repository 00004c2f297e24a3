"""Where results lie: what the repository ships, and what is made here."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = REPOSITORY / "results" / "runs"
LOCAL = REPOSITORY / "results" / "local"
PUBLISHED = REPOSITORY / "results" / "published"
