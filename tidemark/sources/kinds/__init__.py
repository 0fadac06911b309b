"""Kinds of sources, one a module, which is called as `[[sources]] kind` names it."""
