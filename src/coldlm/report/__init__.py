"""Results on disk -> statistics, tables, figures. Reads files only, never models.

``results`` reads run folders, ``compare`` turns them into ``rows``, ``measure`` and ``statistics``
into numbers, ``table`` and ``formats`` into text, ``figure`` into pictures; ``notes`` says what
must be said beside them.
"""
