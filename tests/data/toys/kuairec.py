"""Toy files of the reader ``kuairec``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldlm.data import kuairec
from coldlm.data.kuairec import N_VIEWS

VIEWS = (
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
    "14,148,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.72\n"
    "2,3649,13838,4867,2020-07-05 05:28:00.057,20200705,1593898080.057,2.0\n"
    "14,148,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.72\n"  # repeated
    "14,148,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.73\n"  # another watch ratio
    "2,148,13838,4867,,,,9\n"  # no time
    "2,148,13838,4867,,,-3.5,9\n"  # before 1970
    "2,99,13838,4867,2020-07-05 05:27:48,20200705,1593898068,573.5\n"  # no caption
)

CAPTIONS = (
    "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name,"
    "second_level_category_id,second_level_category_name,third_level_category_id,third_level_category_name\n"
    '3649,UNKNOWN,"精神小伙路难走\n程哥你狗粮慢点撒, ""哈哈""",[],8,颜值,673,颜值随拍,-124,UNKNOWN\n'
    '148,五爱街最美美女,回车\r在这里,"[五爱市场, 感谢快手]",27,高新数码,-124,UNKNOWN,-124,UNKNOWN\n'
    "5,UNKNOWN,,[],-124,UNKNOWN,-124,UNKNOWN,-124,UNKNOWN\n"
)


def write(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in the archive, with the captions beside its folder."""
    for name in N_VIEWS:
        monkeypatch.setitem(N_VIEWS, name, 7)
    monkeypatch.setattr(kuairec, "N_USERS", 2)
    folder = root / "KuaiRec 2.0" / "data"
    folder.mkdir(parents=True)
    (folder / "big_matrix.csv").write_text(VIEWS)
    (folder / "small_matrix.csv").write_text(VIEWS.replace("14,148", "7,148"))
    (root / "kuairec_caption_category.csv").write_bytes(CAPTIONS.encode())
    return root
