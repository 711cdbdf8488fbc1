"""Spreadsheets, by the package of the extra ``excel``."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import polars as pl

from coldlm.core.errors import DataError


def read_sheets(
    path: Path, ways: str = "save it anew, or export it as csv"
) -> dict[str, pl.DataFrame]:
    """Return sheet -> table, in the order of an xlsx file; rows and columns that are empty at the end of
    a sheet are left out.

    Args:
        ways: what to do about a damaged file.

    Raises:
        DataError: a damaged file, or the package is not there.
    """
    try:
        with ZipFile(path) as archive:  # the package below does not look at checksums
            if damaged := archive.testzip():
                raise DataError(
                    f"{path}: cannot be read as xlsx: {damaged} in it is damaged. {ways}"
                )
        return pl.read_excel(path, sheet_id=0, infer_schema_length=None)
    except DataError:
        raise
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: reading xlsx needs a package: pip install 'coldlm[excel]'"
        ) from error
    except Exception as error:  # those of the package, which may not be there to be imported
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as xlsx: {reason}. {ways}") from error
