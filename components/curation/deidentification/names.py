"""Dictionaries: given names and surnames of several languages, and capitalised words that are no names.

Authored for this project from general knowledge. A dictionary word alone never makes a name: `context.py` wants two
of them together, or a title, label or relation beside it.
"""

# ruff: noqa: SIM905  (a word list reads better as text)
GIVEN_NAMES = frozenset(
    """
    Aaron Abigail Adam Adrian Agnes Ahmed Aidan Alan Albert Alejandro Alex Alexander Alexandra Alfred Ali Alice Alicia Alison Amanda
    Amber Amelia Amy Ana Andre Andrea Andreas Andrew Angela Anita Ann Anna Anne Annie Anthony Antonio April Arthur Ashley Audrey Barbara
    Beatrice Ben Benjamin Bernard Beth Betty Beverly Bill Billy Bob Bonnie Brandon Brenda Brian Bruce Carl Carla Carlos Carol Caroline
    Carolyn Catherine Cecilia Charles Charlie Charlotte Chris Christian Christina Christine Christopher Cindy Claire Clara Colin Connie
    Craig Crystal Cynthia Daniel Danielle David Dawn Debbie Deborah Denise Dennis Derek Diana Diane Donald Donna Doris Dorothy Douglas
    Duncan Dylan Edith Edward Edwin Eileen Elaine Eleanor Elena Elizabeth Ella Ellen Emily Emma Eric Erica Erik Erin Ernest Esther Ethan
    Eugene Eva Evelyn Fatima Felix Fiona Florence Frances Francis Frank Fred Frederick Gabriel Gary Geoffrey George Georgia Gerald Gina
    Gladys Glenn Gloria Gordon Grace Graham Greg Gregory Hannah Harold Harriet Harry Hassan Hazel Heather Helen Henry Herbert Holly Howard
    Hugh Hugo Ian Ibrahim Ida Irene Iris Isaac Isabel Isabella Ivan Jack Jackie Jacob Jacqueline James Jamie Jan Jane Janet Janice Jason
    Jean Jeff Jeffrey Jennifer Jeremy Jerry Jesse Jessica Jill Jim Joan Joanna Joe Joel Johanna John Johnny Jonathan Jordan Jorge Jose
    Joseph Joshua Joyce Juan Judith Judy Julia Julie Justin Karen Karl Kate Katherine Kathleen Kathryn Katie Keith Kelly Ken Kenneth Kevin
    Kim Kimberly Kristen Kurt Kyle Larry Laura Lauren Lawrence Leah Lee Leo Leon Leonard Leslie Lillian Linda Lisa Liz Lois Lori Louis
    Louise Lucas Lucy Luis Luke Lydia Lynn Madison Malcolm Marcus Margaret Maria Marie Marilyn Mario Marion Mark Martha Martin Marvin
    Mary Matthew Maureen Max Megan Melanie Melissa Mia Michael Michelle Miguel Mike Mildred Miriam Mohamed Mohammed Molly Monica Muhammad
    Nancy Naomi Natalie Nathan Neil Nicholas Nicole Nina Noah Nora Norma Norman Olga Oliver Olivia Omar Oscar Owen Pamela Patricia Patrick
    Paul Paula Pauline Pedro Peggy Penelope Peter Philip Phillip Phyllis Rachel Ralph Raymond Rebecca Richard Rita Robert Roberta Robin
    Rodney Roger Ronald Rosa Rose Rosemary Roy Russell Ruth Ryan Sally Sam Samantha Samuel Sandra Sara Sarah Scott Sean Sebastian Sharon
    Sheila Sherry Shirley Simon Sofia Sonia Sophia Sophie Stacy Stanley Stefanie Stella Stephanie Stephen Steve Steven Stuart Sue Susan
    Suzanne Sylvia Tamara Tania Tara Ted Teresa Terry Theodore Theresa Thomas Tiffany Tim Timothy Tina Todd Tom Tommy Tony Tracy Travis
    Tyler Valerie Vanessa Vera Veronica Victor Victoria Vincent Virginia Vivian Walter Wanda Wayne Wendy William Willie Yolanda Yvonne
    Zachary Zoe
    """.split()
)  # fmt: skip

# Capitalised words that begin sentences, label lines or name things: never the first word of a name.
NOT_NAMES = frozenset(
    """
    A About Abdomen Acute Admission Admitted After Age All Allergies Also Although Always Am An And Any Anyone Anything Anything Are As
    Assessment At Attending Back Because Been Before Blood Both But By Call Can Cardiac Cc Center Chart Chest Chief Chronic Clinic Code
    Complaint Complaints Complains Could Date Day Days Denies Department Dictated Did Discharge Discharged Do Doctor Does Each Electronically
    Emergency Every Examination Facility Family Father Female Final Finding Findings First Follow For From General Good Great Guest Guest_clinician
    Guest_family Had Has Have He Hello Her Here Hey Hi His History Home Hospital How However I If Impression In Insurance Is It Its Just Lab
    Last Left Let Like Make Male Maybe Medical Medication Medications Member Mom Mother Mr Mrs Ms My Name Neck Negative New Next No None Normal
    Not Note Now Nurse Of Oh Ok Okay On Once One Or Other Otherwise Our Out Over Pain Past Patient Perfect Physical Plan Please Positive
    Postbox Prior Problems Procedure Prof Professor Pulse Records Red Regional Results Right Same See She Since So Social Some Status Subjective Sure
    Surgery Surgical Tell Tel Temperature Thank Thanks That The Their Them Then There These They This Those Three To Today Treatment Two Uh Um
    Unit Until Up Urine Very Vital Was We Well Were What When Where Which While White Who Why Will With Within Without Would Yeah Year Yes
    You Your Absolutely Actually Again Ah Alright Any Correct Definitely Exactly Fine Got Nope Nothing Only Really Right Several Such Your
    Dear Re Seen Skin Heart Lungs Eyes Ears Nose Throat Head Bilateral Multiple Mild Severe Moderate Possible Probable Type Stage Grade
    Step Chapter Background Methods Conclusion Recommendations Background Pathway Guideline Start Started Follow-up Attn Phone Fax Ward
    """.split()
)  # fmt: skip

# People who gave their names to signs, tests and diseases; a mention is no identifier when one of EPONYM_NOUNS follows.
EPONYM_NOUNS = (
    "disease", "syndrome", "sign", "test", "procedure", "virus", "phenomenon", "reflex", "maneuver", "manoeuvre", "score", "criteria", "scale",
    "fracture", "palsy", "tumor", "tumour", "catheter", "stain", "lymphoma", "sarcoma", "thyroiditis", "contracture", "ulcer", "spots", "nodes",
    "node", "law", "triad", "classification", "index", "pouch", "esophagus", "oesophagus", "ganglion", "cyst", "tube", "position", "formula",
    "chorea", "ataxia", "dementia", "degree", "lesion", "gland", "duct", "drain", "clamp", "incision", "stage", "grade", "staging", "bodies", "cells",
)  # fmt: skip

ZH_SURNAMES = (
    "闫王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦"
    "江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜路詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池滕晋苑邬臧畅宫来嵺苟全褚廉简娄盖符奚木穆党燕郎邸冀谈姬屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花仇艾蓝都巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗应台巫鞠僧桑荆谌银扬明沙薄伏岑习胥保和蔺付"
)  # fmt: skip
ZH_COMPOUND_SURNAMES = (
    "欧阳",
    "司马",
    "上官",
    "诸葛",
    "东方",
    "皇甫",
    "尉迟",
    "公孙",
    "令狐",
    "慕容",
    "夏侯",
    "端木",
    "司徒",
    "轩辕",
    "南宫",
    "独孤",
)
# Characters that do not stand in a given name: what follows a name in running text.
ZH_NOT_GIVEN = "的是了在我你他她它们和与及陪带就都也还又没不，。：；、？！\n 　"
ZH_NEXT_WORDS = (
    "昨天",
    "今天",
    "明天",
    "前天",
    "主任",
    "主治",
    "副主",
    "大夫",
    "先生",
    "女士",
    "护士",
    "教授",
    "医生",
    "医师",
    "电话",
    "来电",
    "说",
    "看",
    "院长",
)
# Medicines and herbs whose names read like personal names.
ZH_NOT_NAMES = frozenset(
    {"徐长卿", "刘寄奴", "何首乌", "王不留", "白头翁", "马齿苋", "石决明", "黄连素", "金银花", "白术", "黄芪", "方便"}
)
