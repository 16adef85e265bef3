"""Chinese identifiers that their neighbourhood gives away: names, record numbers, accounts, addresses, hospitals.

A name is a surname of the list and one or two characters in a context of names; medicines whose names read like
people's are left alone.
"""

import re
from collections.abc import Iterator

from components.curation.deidentification.names import (
    ZH_COMPOUND_SURNAMES,
    ZH_NEXT_WORDS,
    ZH_NOT_GIVEN,
    ZH_NOT_NAMES,
    ZH_SURNAMES,
)
from components.curation.deidentification.spans import Span

SURNAME = rf"(?:{'|'.join(ZH_COMPOUND_SURNAMES)}|[{''.join(sorted(set(ZH_SURNAMES)))}])"
GIVEN = rf"(?:(?!{'|'.join(ZH_NEXT_WORDS)}|[{re.escape(ZH_NOT_GIVEN)}])[一-龥])"
NAME = rf"({SURNAME}{GIVEN}{{1,2}})"
BEFORE = (
    r"(?:姓名|患者|病人|联系人|主治医师|医师|医生|主任|记录者|记录人|家属|监护人|签名|审核|报告人|申请人|收件人|护士)[：:]\s*",
    r"(?:我叫|名叫|叫做|联系人|我是|本人)\s*",
    r"(?:爱人|妻子|丈夫|老公|老婆|儿子|女儿|母亲|父亲|妈妈|爸爸|哥哥|弟弟|姐姐|妹妹|朋友|同事|邻居)",
    r"(?:看的是|找的是|挂的是|由|请)",
)
TITLES = r"(?:主任|副主任|医生|大夫|教授|护士|先生|女士|医师|院长)"
NAME_RULES = (
    *(re.compile(before + NAME) for before in BEFORE[:2]),
    re.compile(BEFORE[2] + NAME + r"(?=昨天|今天|前天|陪|带|说|也|，|。|\s|来|去)"),
    re.compile(BEFORE[3] + NAME + rf"(?={TITLES})"),
    re.compile(NAME + rf"(?={TITLES})"),
    re.compile(r"(?:】|医院|中心|诊所)[\s　]*(?<=[\s　])" + NAME + r"(?=[\s　]|$)"),
)
RECORD_NUMBER = r"(?:病案号|病历号|住院号|门诊号|就诊号|登记号|档案号|身份证号码?|社保号|编号|检查号|卡号|护照号码?)\s*(?:是|为|：|:)?\s*"
NUMBER_RULES = {
    "ID": re.compile(RECORD_NUMBER + r"([A-Za-z]{0,3}\d[\dXx-]{4,19})"),
    "ACCOUNT": re.compile(
        r"(?:微信号?|QQ号?|支付宝|银行卡号?|医保卡号?|医保号|账号|帐号|保单号)\s*(?:是|为|：|:)?\s*([A-Za-z0-9][A-Za-z0-9_-]{4,25}(?: \d{4}){0,4})"
    ),
    "PHONE": re.compile(
        r"(?:电话|手机号?|致电|联系方式|传真)\s*(?:是|为|：|:)?\s*([（(]?\+?\d[\d ()（）-]{6,18}\d(?:转\d{1,5})?)"
    ),
    "DATE": re.compile(
        r"(?:日期|时间|生日|【|就诊于|定在|(?<=[\s　]))\s*(?:是|为|：|:)?\s*((?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?!\d)"
    ),
}
PROVINCE = (
    r"(?:(?:河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|台湾)省|"
    r"(?:内蒙古|广西壮族|西藏|宁夏回族|新疆维吾尔)自治区|(?:北京|上海|天津|重庆)市)"
)
ADDRESS = re.compile(
    rf"(?:{PROVINCE}(?:[一-龥]{{2,4}}市)?|(?<=[住址于在：])[一-龥]{{2,4}}市)(?:[一-龥]{{1,5}}(?:区|县|市))?"
    r"[一-龥\d]{1,16}?(?:路|街|道|巷|里|村|镇|大道|胡同)[一-龥]{0,2}\d+号(?:[一-龥]{1,8})?(?:\d+[栋幢号楼座单元室-]*)*"
)
PLACE = r"(?:[一-龥]{2}(?:市|县|区|省)|[一-龥]{2}(?=大学|医科|人民|中心))"
HOSPITAL = re.compile(
    rf"{PLACE}(?:[一-龥]{{2}}(?:市|县|区))?(?:[一-龥]{{0,8}}?)(?:医院|卫生院|诊所|门诊部|卫生服务中心|保健院|疗养院)"
)


def find_chinese(text: str) -> Iterator[Span]:
    """Yield every identifier of a Chinese text that needs context; forms alone are in `patterns.py`."""
    names: set[str] = set()
    for rule in NAME_RULES:
        for match in rule.finditer(text):
            if match.group(1) not in ZH_NOT_NAMES:
                names.add(match.group(1))
                yield Span(match.start(1), match.end(1), "NAME")
    for name in sorted(names):
        yield from (Span(match.start(), match.end(), "NAME") for match in re.finditer(re.escape(name), text))
    for kind, rule in NUMBER_RULES.items():
        yield from (Span(match.start(1), match.end(1), kind) for match in rule.finditer(text))
    yield from (Span(match.start(), match.end(), "ADDRESS") for match in ADDRESS.finditer(text))
    yield from (Span(match.start(), match.end(), "ORGANIZATION") for match in HOSPITAL.finditer(text))
