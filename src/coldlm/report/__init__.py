"""Results on disk -> statistics, tables, figures. Reads files only, never models.

``results`` reads run folders, ``compare`` turns them into ``rows``, ``measure`` and ``statistics``
into numbers, ``table`` and ``formats`` into text, ``figure`` into pictures; ``notes`` says what
must be said beside them, ``verdict`` what may be claimed. ``pages`` and ``html`` put all of it on one
page. ``check`` recomputes what the tables on disk say.
"""
