"""`python -m shield` is `shield`."""

from shield.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
