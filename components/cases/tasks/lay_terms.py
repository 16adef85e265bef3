"""Clinical words and what they are called in plain language, authored here."""

LAY_TERMS: tuple[tuple[str, str], ...] = (
    ("dyspnoea", "shortness of breath"), ("pyrexia", "fever"), ("cephalalgia", "headache"), ("myalgia", "muscle pain"),
    ("arthralgia", "joint pain"), ("pruritus", "itching"), ("emesis", "vomiting"), ("epistaxis", "nosebleed"),
    ("syncope", "fainting"), ("haematuria", "blood in the urine"), ("dysuria", "pain when passing urine"),
    ("polyuria", "passing a lot of urine"), ("polydipsia", "great thirst"), ("nocturia", "passing urine at night"),
    ("haemoptysis", "coughing up blood"), ("haematemesis", "vomiting blood"), ("melaena", "black tarry stools"),
    ("dysphagia", "difficulty swallowing"), ("odynophagia", "painful swallowing"), ("dyspepsia", "indigestion"),
    ("pyrosis", "heartburn"), ("rhinorrhoea", "runny nose"), ("pharyngitis", "sore throat"), ("otalgia", "earache"),
    ("tinnitus", "ringing in the ears"), ("vertigo", "spinning dizziness"), ("diplopia", "double vision"),
    ("photophobia", "dislike of light"), ("oedema", "swelling"), ("erythema", "redness of the skin"),
    ("urticaria", "hives"), ("alopecia", "hair loss"), ("jaundice", "yellow skin"), ("cyanosis", "blue lips"),
    ("pallor", "pale skin"), ("diaphoresis", "sweating"), ("anorexia", "loss of appetite"), ("asthenia", "weakness"),
    ("paraesthesia", "pins and needles"), ("paresis", "partial paralysis"), ("tachycardia", "fast heartbeat"),
    ("bradycardia", "slow heartbeat"), ("hypertension", "high blood pressure"), ("hypotension", "low blood pressure"),
    ("hyperglycaemia", "high blood sugar"), ("hypoglycaemia", "low blood sugar"), ("ischaemia", "poor blood supply"),
    ("thrombus", "blood clot"), ("fracture", "broken bone"), ("laceration", "cut"), ("contusion", "bruise"),
    ("neoplasm", "growth"), ("lesion", "damaged area"), ("insomnia", "trouble sleeping"), ("somnolence", "sleepiness"),
    ("dysmenorrhoea", "painful periods"), ("menorrhagia", "heavy periods"), ("analgesic", "painkiller"),
    ("antipyretic", "fever medicine"), ("anticoagulant", "blood thinner"), ("diuretic", "water tablet"),
    ("laxative", "medicine for constipation"),
)  # fmt: skip
