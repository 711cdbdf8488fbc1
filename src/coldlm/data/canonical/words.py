"""Texts of the simulated world: twelve topics of twenty words each, in English and in Chinese; no
word twice."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator

from coldlm.core.tables import Floats

_ENGLISH: Final = """
spaceship galaxy astronaut alien planet orbit rocket starship nebula cosmic lunar mars asteroid comet android laser
wormhole telescope colony gravity
smartwatch battery bluetooth display charger wristband sensor heartbeat firmware waterproof touchscreen notification
wireless gadget tracker strap pixel microphone charging wearable
recipe kitchen garlic noodles oven butter roast spicy dessert chef pepper baking soup sauce flavour dough grill
vegetable dinner pancake
football goalkeeper striker penalty league stadium referee midfield championship kickoff derby transfer offside coach
header tackle tournament dribble scoreline defender
romance wedding kiss bride sweetheart heartbreak valentine passion lovers bouquet honeymoon jealous embrace proposal
darling affair flirt longing soulmate tender
inflation stocks investor interest bonds bank currency dividend earnings shares economy loan hedge trader profit
mortgage tariff deficit merger portfolio
guitar melody drummer concert chorus album rhythm vocals bassline orchestra jazz symphony lyrics piano ballad acoustic
remix violin harmony encore
detective murder suspect clue alibi forensic witness inspector corpse motive crime burglar verdict ransom culprit
investigation fingerprint homicide accomplice confession
garden tulip pruning seedling compost greenhouse lawn watering blossom shrub perennial orchard soil hedgehog bulbs rose
trellis mulch harvest fern
beach hotel passport island luggage airline itinerary backpack resort sightseeing cruise tourist souvenir hostel flight
lagoon snorkel postcard visa landmark
puppy kitten leash veterinarian whiskers kennel fur paws grooming aquarium parrot hamster collar breed litter tail purr
barking goldfish rabbit
yoga protein treadmill dumbbell squat stretching cardio marathon vitamin pilates hydration workout muscle sleep jogging
meditation calories posture gym recovery
"""

_CHINESE: Final = """
飞船 银河 宇航员 外星人 行星 轨道 火箭 星舰 星云 宇宙 月球 火星 小行星 彗星 机器人 激光 虫洞 望远镜 殖民地 引力
智能手表 电池 蓝牙 显示屏 充电器 手环 传感器 心率 固件 防水 触摸屏 通知 无线 数码 定位 表带 像素 麦克风 快充 可穿戴
菜谱 厨房 大蒜 面条 烤箱 黄油 烧烤 麻辣 甜点 厨师 胡椒 烘焙 炖汤 酱料 风味 面团 煎锅 蔬菜 晚餐 煎饼
足球 守门员 前锋 点球 联赛 球场 裁判 中场 冠军 开球 德比 转会 越位 教练 头球 铲球 锦标赛 盘带 比分 后卫
爱情 婚礼 亲吻 新娘 恋人 心碎 情人节 激情 情侣 花束 蜜月 嫉妒 拥抱 求婚 亲爱 绯闻 调情 思念 知己 温柔
通胀 股票 投资者 利率 债券 银行 货币 分红 财报 股份 经济 贷款 对冲 交易员 利润 房贷 关税 赤字 并购 基金
吉他 旋律 鼓手 演唱会 合唱 专辑 节奏 主唱 贝斯 乐团 爵士 交响乐 歌词 钢琴 民谣 原声 混音 小提琴 和声 返场
侦探 谋杀 嫌犯 线索 不在场 法医 证人 警长 尸体 动机 犯罪 窃贼 判决 赎金 真凶 调查 指纹 命案 同伙 供词
花园 郁金香 修剪 幼苗 堆肥 温室 草坪 浇水 盛开 灌木 多年生 果园 土壤 刺猬 球根 玫瑰 花架 覆盖 收获 蕨类
海滩 酒店 护照 海岛 行李 航空 行程 背包 度假村 观光 邮轮 游客 纪念品 青旅 航班 潟湖 浮潜 明信片 签证 地标
小狗 小猫 牵引绳 兽医 胡须 犬舍 毛发 爪子 美容 水族箱 鹦鹉 仓鼠 项圈 品种 猫砂 尾巴 呼噜 吠叫 金鱼 兔子
瑜伽 蛋白 跑步机 哑铃 深蹲 拉伸 有氧 马拉松 维生素 普拉提 补水 锻炼 肌肉 睡眠 慢跑 冥想 卡路里 体态 健身房 恢复
"""

PER_TOPIC: Final = 20
TITLE_WORDS: Final = 4
SHARE_CHINESE: Final = {"en": 0.0, "zh": 1.0, "both": 0.5}


def _topics(words: str) -> tuple[tuple[str, ...], ...]:
    flat = words.split()
    return tuple(tuple(flat[i : i + PER_TOPIC]) for i in range(0, len(flat), PER_TOPIC))


VOCABULARY: Final = {"en": _topics(_ENGLISH), "zh": _topics(_CHINESE)}
"""Words by language and topic: space, smart watches, cooking, football, romance, finance, music,
crime, gardens, travel, pets, fitness."""


def write(
    draw: Generator, mixtures: Floats, text_signal: float, language: str, length: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the titles and texts of all rows of ``mixtures``, [N, K]: mixtures of topics, each of
    which sums to 1.

    A text has ``length`` words, none twice, at most ``PER_TOPIC``; its title is the first
    ``TITLE_WORDS`` of them.
    """
    n, n_topics = mixtures.shape
    reach = np.cumsum(mixtures, axis=1)[:, None, :]
    own = np.minimum((draw.random((n, length, 1)) > reach).sum(axis=2), n_topics - 1)
    noise = draw.integers(0, n_topics, (n, length))
    topic = np.where(draw.random((n, length)) < text_signal, own, noise)
    deck = draw.random((n, n_topics, PER_TOPIC)).argsort(axis=2)
    is_chinese = np.less(draw.random(n), SHARE_CHINESE[language])
    titles, texts = [], []
    for row in range(n):
        vocabulary = VOCABULARY["zh" if is_chinese[row] else "en"]
        decks = [iter(order) for order in deck[row].tolist()]
        words = [vocabulary[k][next(decks[k])] for k in topic[row].tolist()]
        blank, comma = ("", "，") if is_chinese[row] else (" ", ", ")
        title = blank.join(words[:TITLE_WORDS])
        groups = [words[i : i + TITLE_WORDS] for i in range(TITLE_WORDS, length, TITLE_WORDS)]
        titles.append(title[0].upper() + title[1:])
        texts.append(comma.join([titles[-1], *(blank.join(group) for group in groups)]))
    return tuple(titles), tuple(texts)
