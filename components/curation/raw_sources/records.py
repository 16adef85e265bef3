"""Outpatient notes, inpatient summaries and consultation dialogues of invented patients, with gold spans.

A record combines four symptoms and a finding (held-out questions combine at most four features), and its combination
is kept beside it. A tenth of the records is Chinese: curation must de-identify both languages.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from components.curation.raw_sources.identities import ChineseIdentity, Identity
from components.curation.raw_sources.planting import Planted, PlantedText, fill
from components.curation.raw_sources.seeds import named_generator
from components.curation.raw_sources.sentences import join_phrases
from components.documents import Document
from components.knowledge_base.schema import Disease, KnowledgeBase

OUTPATIENT = (
    "{hospital} - Outpatient Note\nPatient: {name}, DOB {birth}, MRN {record}\nSeen on {date} in {department}. {age_words} {sex} reports {symptoms}. Examination: {finding}. Assessment: {disease} ({code}). Plan: {drug}; tests: {tests}. Tel: {phone}\nElectronically signed by Dr. {doctor}",
    "Name: {name}\nDate of visit: {date}\nMedical Record #: {record}\nThis is a {age_words} {sex} who complains of {symptoms}. On examination there is {finding}. Impression: {disease}, code {code}. Start {drug}. {title} {surname} asks that reports be sent to {email}. cc: {doctor}, MD, {hospital}",
    "Clinic note for {name} | SSN {social} | seen {date}\nComplaints: {symptoms}. Finding: {finding}. The working diagnosis is {disease}. We ordered {tests} and prescribed {drug}. The patient lives at {address}. Results will be posted on {url} for review.",
)
INPATIENT = (
    "DISCHARGE SUMMARY\nPatient name: {name}\nAdmitted: {date}\nDischarged: {end}\nChart no. {record}\nA {age_words} {sex} was admitted to {hospital} with {symptoms}. Results showed {finding}. Investigations included {tests}. The diagnosis was {disease} ({code}). Treatment with {drug} was started. Insurance member number {account} was verified. The next of kin, {relative}, can be reached at {phone}.\nDictated by: Dr. {doctor}",
    "{hospital}, ward report of {date}. RE: {name}\n{address}\nTel: {phone}\nThe {age_words} {sex} had {symptoms} on admission. We found {finding} and treated {disease} with {drug}. Follow-up in {department} on {end}. Attending: Dr. {doctor}",
)
DIALOGUE = (
    "Doctor: Can I have your name and date of birth?\nPatient: Sure, {name}, {birth}.\nDoctor: What brings you here?\nPatient: I have had {symptoms}.\nDoctor: I can see {finding}. It looks like {disease}. I would like you to take {drug} and we will do {tests}.\nDoctor: What is the best number to call you back on?\nPatient: {phone}, or you can e-mail me at {email}.",
    "Patient: My partner {relative} drove me here from {address}. I feel {symptoms}.\nDoctor: I have your chart open, number {record}. I notice {finding}. This is {disease}, we code it {code}.\nPatient: What should I take?\nDoctor: {drug} first. Dr. {doctor} at {hospital} will see you on {end}.\nPatient: My policy number is {account}.",
)
CHINESE = (
    "{hospital}门诊病历\n姓名：{name}\n就诊日期：{date}\n门诊号：{record}\n主诉：家里老人{old_age}，出现不适一周。诊断：{disease}。处方：{drug}。联系电话：{phone}\n主治医师：{doctor}",
    "患者：{name}，女，住院号：{record}。身份证号{resident}，家住{address}。考虑{disease}，建议服用{drug}。上次在{hospital}看的是{doctor}主任，时间是{date}。我的微信号是{account}，方便的话请加我。",
)
KINDS = ("outpatient_record", "inpatient_record", "dialogue", "outpatient_record", "dialogue", "inpatient_record")
TEMPLATES = {"outpatient_record": OUTPATIENT, "inpatient_record": INPATIENT, "dialogue": DIALOGUE}
CHINESE_SHARE = 0.1
OLD_SHARE = 0.12


@dataclass(frozen=True)
class PlantedRecord:
    """A record, where its identifiers stand, and the features it combines."""

    document: Document
    spans: tuple[tuple[int, int, str], ...]
    combination: tuple[str, ...]


def write_records(knowledge_base: KnowledgeBase, *, seed: int, per_disease: int) -> Iterator[PlantedRecord]:
    """Yield `per_disease` records of every disease."""
    for disease in knowledge_base.diseases.values():
        for number in range(per_disease):
            yield _record(knowledge_base, disease, number=number, seed=seed)


def _record(knowledge_base: KnowledgeBase, disease: Disease, *, number: int, seed: int) -> PlantedRecord:
    kind = KINDS[number % len(KINDS)]
    identifier = f"record-{disease.id}-{number:02d}"
    generator = named_generator(seed, "record", identifier)
    drug = knowledge_base.drugs[generator.choice(disease.first_line_drugs)]
    if generator.random() < CHINESE_SHARE:
        kind, language, combination = "outpatient_record", "zh", ()
        identity = ChineseIdentity(generator)
        values = _chinese_values(identity) | {"disease": disease.name_zh, "drug": drug.name_zh}
        text = fill(generator.choice(CHINESE), values)
    else:
        language = "en"
        symptoms = generator.sample(disease.symptoms, 4)
        finding = generator.choice(disease.findings)
        combination = (*symptoms, finding)
        tests = [knowledge_base.tests[test].name for test in generator.sample(disease.indicated_tests, 2)]
        facts = {
            "symptoms": join_phrases(symptoms),
            "finding": finding,
            "tests": join_phrases(tests),
            "disease": disease.name,
            "drug": drug.name,
        }
        text = _english_text(disease, kind=kind, facts=facts, identity=_identity(disease, generator))
    document = Document(
        id=identifier, type=kind, title="", text=text.text, source="hospital records", year=generator.randint(2015, 2024),  # type: ignore[arg-type]
        language=language, entities=(disease.id, drug.id), record_ids=(identifier,),
    )  # fmt: skip
    return PlantedRecord(document=document, spans=text.spans, combination=tuple(sorted(combination)))


def _identity(disease: Disease, generator: random.Random) -> Identity:
    sex = disease.sex if disease.sex != "any" else generator.choice(("female", "male"))
    return Identity(generator, sex)


def _english_text(disease: Disease, *, kind: str, facts: dict[str, str], identity: Identity) -> PlantedText:
    generator = identity.generator
    low, high = disease.age_years
    age: Planted | str = f"{generator.randint(low, min(high, 89))}-year-old" if low < 89 else "elderly"
    if high >= 85 and generator.random() < OLD_SHARE:
        age = identity.old_age()
    values: dict[str, Planted | str] = {
        **facts, "department": disease.department, "code": disease.icd10, "age_words": age,
        "sex": {"female": "woman", "male": "man"}[identity.sex], "title": {"female": "Ms.", "male": "Mr."}[identity.sex],
        "name": identity.name(), "relative": identity.name(), "doctor": identity.name(), "surname": identity.surname(),
        "birth": identity.date(first_year=1935, last_year=2005), "date": identity.date(), "end": identity.date(),
        "record": identity.record_number(), "social": identity.social_number(), "account": identity.account(), "phone": identity.phone(),
        "email": identity.email(), "address": identity.address(), "url": identity.url(), "hospital": identity.hospital(),
    }  # fmt: skip
    return fill(generator.choice(TEMPLATES[kind]), values)


def _chinese_values(identity: ChineseIdentity) -> dict[str, Planted | str]:
    return {
        "name": identity.name(), "doctor": identity.name(), "date": identity.date(), "record": identity.record_number(),
        "resident": identity.resident_number(), "address": identity.address(), "hospital": identity.hospital(),
        "phone": identity.phone(), "account": identity.account(), "old_age": identity.old_age(),
    }  # fmt: skip
