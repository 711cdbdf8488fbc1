"""Toy files of the reader ``hm``, small enough to check by eye."""

from __future__ import annotations

from pathlib import Path

from coldlm.data.hm import find

HEADER = (
    "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,graphical_appearance_no,"
    "graphical_appearance_name,colour_group_code,colour_group_name,perceived_colour_value_id,"
    "perceived_colour_value_name,perceived_colour_master_id,perceived_colour_master_name,department_no,"
    "department_name,index_code,index_name,index_group_no,index_group_name,section_no,section_name,garment_group_no,"
    "garment_group_name,detail_desc"
)

REST = (
    "1010016,Solid,{},4,Dark,5,{},1676,Jersey Basic,A,Ladieswear,1,Ladieswear,16,Basics,1002,Jersey"
)

BLACK = REST.format("09,Black", "Black")

ARTICLES = f"""{HEADER}
0108775015,0108775,Strap top,253,Vest top,Garment Upper body,{BLACK},"Jersey top, narrow ""spaghetti"" straps."
0108775044,0108775,Strap top,253,Vest top,Garment Upper body,{REST.format("10,White", "White")},
0110065001,0110065,OP T-shirt (Idro),306,Bra,Underwear,{BLACK},"Two
lines: 罩杯"
"""

A, B, C = (letter * 64 for letter in "abc")

LINES = f"""t_dat,customer_id,article_id,price,sales_channel_id
2018-09-20,{A},0108775015,0.05083050847457627,2
2018-09-20,{A},0108775015,0.0508,2
2018-09-20,{B},0110065001,1e-05,1
2018-09-20,{A},0999999999,0.03,1
2018-09-21,{A},0108775015,0.05,2
"""

CUSTOMERS = f"""customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code
{B},,,ACTIVE,NONE,49,52043ee2
{C},1.0,1.0,PRE-CREATE,Regularly,24.0,2973abc5
{A},,,,,,64f17e6a
"""


def write(
    folder: Path, articles: str = ARTICLES, lines: str = LINES, customers: str | None = None
) -> list[Path]:
    folder.mkdir(exist_ok=True)
    texts = {"articles.csv": articles, "transactions_train.csv": lines, "customers.csv": customers}
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8", newline="")
    return find(folder)
