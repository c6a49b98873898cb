"""Measurements of tarsd against real nodes: `python -m bench NAME [--quick] [--json FILE]`.

Each bench is a module here with `NAME`, a docstring that says what it measures, and `async def run(ctx) -> list[Row]`.
It may have `def arguments(parser)` for options of its own, and `IN_ALL = False` to be left out of `all`.
"""
