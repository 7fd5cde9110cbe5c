"""PURE: what the roll-forwards, registers and the bridge call their columns, in the programme's languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kit.reports.tables import Column, Kind, Term, Words


def _t(en: str, ru: str, ro: str) -> Words:
    return {"en": en, "ru": ru, "ro": ro}


TITLES: Mapping[str, Words] = MappingProxyType(
    {
        "R5": _t("Payment file register", "Реестр платёжных файлов", "Registrul fișierelor de plată"),
        "R6": _t("Settlement result", "Результат расчётов", "Rezultatul decontării"),
        "R13": _t("Breaks and ageing", "Расхождения и их возраст", "Diferențe și vechime"),
        "R14": _t("Dispute register", "Реестр споров", "Registrul disputelor"),
        "R7": _t("Points roll-forward", "Движение баллов", "Evoluția punctelor"),
        "R8": _t("Obligation roll-forward", "Движение обязательства", "Evoluția obligației"),
        "R9": _t("Breakage", "Несписание баллов", "Puncte neutilizate"),
        "R10": _t("Expiry forecast", "Прогноз сгорания баллов", "Prognoza expirării"),
        "R23": _t("What other prices would have made", "Расчёт при других ценах", "Decontarea la alte prețuri"),
        "R25": _t("How reconciliation does", "Показатели сверки", "Indicatorii reconcilierii"),
        "R11": _t("Trust and liquidity cover", "Покрытие обязательств", "Acoperirea obligațiilor"),
        "R12": _t("Positions and caps", "Позиции и лимиты", "Poziții și limite"),
        "R15": _t("Campaign funding", "Финансирование акций", "Finanțarea campaniilor"),
        "R16": _t("Subscription allocation", "Распределение платы за подписку", "Repartizarea abonamentelor"),
        "R17": _t("Register of documents", "Реестр документов", "Registrul documentelor"),
        "R18": _t("General ledger export", "Выгрузка в главную книгу", "Export în cartea mare"),
        "R19": _t("Late items", "Поздние операции", "Operațiuni întârziate"),
        "R20": _t("Control certificate", "Контрольный сертификат", "Certificat de control"),
        "R21": _t("Redemption balance", "Баланс списаний", "Balanța utilizărilor"),
        "R22": _t("Net-position bridge", "Объяснение изменения итога", "Explicarea variației netului"),
        "R24": _t("Audit trail", "Журнал действий", "Jurnal de audit"),
    }
)

COLUMNS: Mapping[str, Words] = MappingProxyType(
    {
        "message": _t("Message", "Сообщение", "Mesaj"),
        "sha256": _t("SHA-256", "SHA-256", "SHA-256"),
        "count": _t("Payments", "Платежей", "Plăți"),
        "control_sum": _t("Control sum", "Контрольная сумма", "Sumă de control"),
        "end_to_end": _t("End-to-end id", "Сквозной номер", "Identificator"),
        "state": _t("State", "Состояние", "Stare"),
        "booked": _t("Booked", "Проведён", "Contabilizat"),
        "bank_reference": _t("Bank's reference", "Номер банка", "Referința băncii"),
        "reference_rf": _t("Payment reference", "Назначение платежа", "Referința plății"),
        "due": _t("Due", "Срок", "Scadență"),
        "instructed": _t("To be paid", "К оплате", "De plătit"),
        "settled": _t("Paid", "Оплачено", "Plătit"),
        "difference": _t("Left", "Осталось", "Rămas"),
        "since": _t("Since", "С", "De la"),
        "break": _t("Break", "Расхождение", "Diferență"),
        "category": _t("Category", "Вид", "Categorie"),
        "leg": _t("Between", "Между", "Între"),
        "value": _t("About", "На сумму", "Valoare"),
        "seen": _t("First seen", "Обнаружено", "Depistat"),
        "days": _t("Business days", "Рабочих дней", "Zile lucrătoare"),
        "bucket": _t("Age", "Возраст", "Vechime"),
        "records": _t("Records compared", "Сверено записей", "Înregistrări comparate"),
        "matched": _t("Matched", "Совпало", "Potrivite"),
        "found": _t("Breaks found", "Найдено расхождений", "Diferențe găsite"),
        "unresolved": _t("Unresolved", "Не разобрано", "Nerezolvate"),
        "dispute": _t("Dispute", "Спор", "Dispută"),
        "reason": _t("Reason", "Основание", "Motiv"),
        "statement": _t("Statement", "Отчёт", "Extras"),
        "mode": _t("Meanwhile", "До решения", "Între timp"),
        "deadline": _t("Until", "Ответить до", "Până la"),
        "given": _t("Given", "Уступлено", "Acordat"),
        "expiry_month": _t("Expires in", "Сгорает в", "Expiră în"),
        "expected_use": _t("Expected to be redeemed", "Ожидается списание", "Utilizare așteptată"),
        "expected_expiry": _t("Expected to expire", "Ожидается сгорание", "Expirare așteptată"),
        "scenario": _t("Prices", "Цены", "Prețuri"),
        "was": _t("As it was", "Как было", "Cum a fost"),
        "would_be": _t("As it would be", "Как было бы", "Cum ar fi"),
        "delta": _t("Difference", "Разница", "Diferență"),
        "drivers": _t("Each price alone", "Каждая цена отдельно", "Fiecare preț separat"),
        "escalated": _t("Went to", "Передано", "Transmis către"),
        "bank_status": _t("The bank said", "Ответ банка", "Răspunsul băncii"),
        "figure": _t("Figure", "Показатель", "Indicator"),
        "of": _t("Of", "Чего", "Ce"),
        "share": _t("Share", "Доля", "Pondere"),
        "funder": _t("Funder", "Кто оплачивает", "Finanțator"),
        "opening": _t("Opening", "На начало", "Sold inițial"),
        "issued": _t("Issued", "Выпущено", "Emise"),
        "returned": _t("Taken back", "Возвращено", "Retrase"),
        "burned": _t("Redeemed", "Списано", "Utilizate"),
        "refunded": _t("Given back", "Восстановлено", "Restituite"),
        "expired": _t("Expired", "Сгорело", "Expirate"),
        "adjusted": _t("Adjusted", "Корректировки", "Ajustări"),
        "other": _t("Other", "Прочее", "Altele"),
        "closing": _t("Closing", "На конец", "Sold final"),
        "lots": _t("By the lots", "По партиям баллов", "După loturi"),
        "allowance": _t("Breakage expected", "Ожидаемое несписание", "Neutilizare estimată"),
        "service": _t("Deferred service", "Отложенная плата", "Serviciu amânat"),
        "liability": _t("Contract liability", "Договорное обязательство", "Datorie contractuală"),
        "current": _t("Within a year", "В течение года", "Într-un an"),
        "non_current": _t("Later", "Позже года", "Peste un an"),
        "month": _t("Month of issue", "Месяц выпуска", "Luna emiterii"),
        "urr": _t("Ultimate redemption", "Итоговое списание", "Utilizare finală"),
        "prior": _t("Model before", "Прошлая оценка", "Estimarea anterioară"),
        "effect": _t("Effect", "Влияние", "Efect"),
        "model": _t("Model", "Модель", "Model"),
        "face": _t("Obligation at face", "Обязательство по номиналу", "Obligația nominală"),
        "expected": _t("Obligation expected", "Ожидаемое обязательство", "Obligația estimată"),
        "cash": _t("Restricted cash", "Средства в трасте", "Numerar restricționat"),
        "collateral": _t("Deposits and retention", "Депозиты и удержания", "Depozite și rețineri"),
        "shortfall": _t("Shortfall", "Недостаток", "Deficit"),
        "coverage": _t("Cover of face", "Покрытие", "Acoperire"),
        "carried": _t("Carried", "Перенесено", "Reportat"),
        "moved": _t("Moved since", "Движение с тех пор", "Mișcat de atunci"),
        "position": _t("Position", "Позиция", "Poziție"),
        "pending": _t("Pending", "Ожидает", "În așteptare"),
        "cover": _t("Cover", "Обеспечение", "Garanție"),
        "cap": _t("Cap", "Лимит", "Limită"),
        "withheld": _t("Waiting", "Удержано до расчёта", "Reținute până la decontare"),
        "exposure": _t("Exposure", "Риск", "Expunere"),
        "utilisation": _t("Of the cap", "Доля лимита", "Din limită"),
        "policy": _t("At the cap", "При лимите", "La limită"),
        "budget": _t("Budget", "Бюджет", "Buget"),
        "unit": _t("Unit", "Единица", "Unitate"),
        "ceiling": _t("Ceiling", "Потолок", "Plafon"),
        "used": _t("Used", "Использовано", "Utilizat"),
        "remaining": _t("Remaining", "Осталось", "Rămas"),
        "reached": _t("Times reached", "Достигнут, раз", "Atins de ori"),
        "number": _t("Number", "Номер", "Număr"),
        "entity": _t("In the name of", "От имени", "În numele"),
        "issued_at": _t("Issued", "Выставлен", "Emis"),
        "tax_code": _t("Tax code", "Код налога", "Cod fiscal"),
        "base": _t("Base", "База", "Bază"),
        "tax": _t("Tax", "Налог", "Taxă"),
        "gross": _t("Gross", "Всего", "Total brut"),
        "source": _t("Booking", "Проводка", "Înregistrare"),
        "day": _t("Day", "День", "Ziua"),
        "account": _t("Account", "Счёт", "Cont"),
        "cohort": _t("Cohort", "Когорта", "Cohortă"),
        "debit": _t("Debit", "Дебет", "Debit"),
        "credit": _t("Credit", "Кредит", "Credit"),
        "entries": _t("Entries", "Записей", "Înregistrări"),
        "origin": _t("Belonged to", "Относилось к", "Aparținea de"),
        "control": _t("Control", "Контроль", "Control"),
        "population": _t("Checked", "Проверено", "Verificat"),
        "by_first": _t("First engine", "Первый расчёт", "Primul motor"),
        "by_second": _t("Second engine", "Второй расчёт", "Al doilea motor"),
        "result": _t("Result", "Результат", "Rezultat"),
        "own_elsewhere": _t("Own points taken elsewhere", "Свои баллы у других", "Puncte proprii la alții"),
        "others_here": _t("Others' points taken here", "Чужие баллы у себя", "Puncte străine aici"),
        "ratio": _t("Ratio", "Соотношение", "Raport"),
        "ratio_before": _t("Ratio before", "Прошлое соотношение", "Raport anterior"),
        "step": _t("Step", "Шаг", "Pas"),
        "before": _t("Before", "Было", "Înainte"),
        "now": _t("Now", "Стало", "Acum"),
        "change": _t("Change", "Изменение", "Variație"),
        "actor": _t("Who", "Кто", "Cine"),
        "action": _t("Action", "Действие", "Acțiune"),
        "subject": _t("Object", "Объект", "Obiect"),
        "detail": _t("Detail", "Подробности", "Detalii"),
        "hash_before": _t("Hash before", "Хеш до", "Hash anterior"),
        "hash_after": _t("Hash after", "Хеш после", "Hash ulterior"),
        "certificate": _t("Certificate", "Сертификат", "Certificat"),
        "fee_month": _t("Month", "Месяц", "Luna"),
        "benefit": _t("For", "За что", "Pentru"),
        "units_used": _t("Used", "Использовано", "Folosit"),
        "rate": _t("Rate", "Ставка", "Tarif"),
        "corrects": _t("Corrects", "Исправляет", "Corectează"),
        "of_trials": _t("Of trials", "Пробные периоды", "Perioade de probă"),
        "user_centric": _t("By each member's use", "По использованию участником", "După folosirea membrului"),
        "pro_rata": _t("By all use", "По всему использованию", "După toată folosirea"),
        "shapley": _t("Equally where used", "Поровну где использовано", "Egal unde s-a folosit"),
        "fixed": _t("Fixed", "По фиксированным долям", "Cote fixe"),
        "pool": _t("Fees shared", "К распределению", "De repartizat"),
        "brought": _t("Brought", "Перенесено с прошлого", "Adus"),
        "charging": _t("Charging", "Приём платежей", "Încasare"),
        "points": _t("Points", "Баллы", "Puncte"),
        "reserve": _t("Reserve", "Резерв", "Rezervă"),
        "operator": _t("Operator", "Оператор", "Operator"),
        "added": _t("Added by the operator", "Добавлено оператором", "Adăugat de operator"),
        "engines": _t("Engines", "Расчётные модули", "Motoare"),
    }
)

STEPS: Mapping[str, Words] = MappingProxyType(
    {
        "PREVIOUS": _t("Previous net", "Прошлый итог", "Netul anterior"),
        "VOLUME": _t("Volume", "Объём", "Volum"),
        "PRICE": _t("Price", "Цена", "Preț"),
        "MIX": _t("Mix", "Структура", "Structură"),
        "RETURNS": _t("Returns", "Возвраты", "Retururi"),
        "BREAKAGE": _t("Expired points", "Сгоревшие баллы", "Puncte expirate"),
        "PROMOTIONS": _t("Promotions", "Акции", "Promoții"),
        "SUBSCRIPTION": _t("Subscription", "Подписка", "Abonament"),
        "FEES": _t("Fees", "Платежи за услуги", "Taxe de serviciu"),
        "TAX": _t("Tax", "Налог", "Taxe"),
        "TIMING": _t("Timing", "Сроки", "Decalaj"),
        "DISPUTES": _t("Disputes and cover", "Споры и обеспечение", "Dispute și garanții"),
        "OTHER": _t("Other", "Прочее", "Altele"),
        "CURRENT": _t("This net", "Текущий итог", "Netul curent"),
    }
)

FIGURES: Mapping[str, Words] = MappingProxyType(
    {
        "straight_through": _t("Matched without a person", "Совпало без участия людей", "Potrivite fără oameni"),
        "matched_by": _t("Matched by rule", "Совпало по правилу", "Potrivite după regulă"),
        "found_of": _t("Breaks found", "Найдено расхождений", "Diferențe găsite"),
        "unexplained": _t("Open, and the oldest", "Открыто, возраст старейшего", "Deschise, cea mai veche"),
        "in_time": _t("Explained in time", "Объяснено вовремя", "Explicate la timp"),
        "resolved_of": _t("Resolved, on average after", "Разобрано, в среднем за", "Rezolvate, în medie după"),
        "written_off": _t("Written off", "Списано", "Anulate"),
    }
)

MEASURED = _t(
    "Values are without their signs; days are business days.",
    "Суммы без знака; дни — рабочие.",
    "Valorile sunt fără semn; zilele sunt lucrătoare.",
)
FORECAST = _t(
    "What is expected follows from how earlier months were used; without experience everything is redeemed.",
    "Ожидание следует из использования прошлых месяцев; пока опыта нет, считается, что спишут всё.",
    "Așteptarea rezultă din folosirea lunilor anterioare; fără experiență totul se utilizează.",
)
CHAINED = _t(
    "Each hash is SHA-256 over the hash before and the entry: whoever kept one can tell that nothing changed.",
    "Каждый хеш — SHA-256 от предыдущего хеша и записи: кто сохранил один, увидит, что ничего не менялось.",
    "Fiecare hash este SHA-256 peste hashul anterior și înregistrare: cine a păstrat unul vede orice schimbare.",
)
CURRENT = _t(
    "Within a year is what the development of earlier months lets expect; without experience it is all.",
    "«В течение года» — ожидаемое по развитию прошлых месяцев; пока опыта нет, сюда входит всё.",
    "«Într-un an» este ce se așteaptă după evoluția lunilor anterioare; fără experiență este totul.",
)
CORRECTED = _t("Fees that went back", "Возвращённая плата", "Abonamente restituite")
REST = _t("What is left, by use", "Остаток, по использованию", "Restul, după folosire")
FEE_MONTHS = _t("Months", "Месяцы", "Luni")
SHARED = _t(
    "What each method would have paid of the rest stands beside what was paid.",
    "Рядом с выплатой показано, что дал бы каждый способ распределения остатка.",
    "Lângă suma plătită stă ce ar fi dat fiecare metodă din rest.",
)

ROLLED = _t(
    "Opening and movements are the closing, and the closing is what the lots say.",
    "Остаток на начало и движения дают остаток на конец, он равен сумме по партиям баллов.",
    "Soldul inițial și mișcările dau soldul final, egal cu suma loturilor.",
)


def column(key: str, kind: Kind = Kind.TEXT, *, places: int = 2, is_summed: bool = False, width: int = 1) -> Column:
    """A column by its key, with its title."""
    return Column(key, COLUMNS[key], kind, places, is_summed, width)


def step(name: str) -> Term:
    """A step of the bridge as a cell."""
    return Term(name, STEPS[name])
