"""PURE: what columns, heads and kinds of line are called, in the programme's languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kit.reports.tables import Cell, Column, Fact, Kind, Term, Words


def _t(en: str, ru: str, ro: str) -> Words:
    return {"en": en, "ru": ru, "ro": ro}


TITLES: Mapping[str, Words] = MappingProxyType(
    {
        "R1": _t("Settlement statement", "Расчётный отчёт", "Extras de decontare"),
        "R2": _t("Clearing detail", "Детализация клиринга", "Detaliile compensării"),
        "R3": _t("Multilateral net report", "Отчёт о многостороннем неттинге", "Raport de compensare multilaterală"),
        "R4": _t("Bilateral matrix (memo)", "Двусторонняя матрица (справочно)", "Matrice bilaterală (informativ)"),
        "lines": _t("Lines", "Строки", "Linii"),
        "tax": _t("Tax", "Налог", "Taxe"),
        "positions": _t("Positions", "Позиции", "Poziții"),
        "pairs": _t("Pairs", "Пары", "Perechi"),
        "detail": _t("Movements", "Движения", "Mișcări"),
    }
)

COLUMNS: Mapping[str, Words] = MappingProxyType(
    {
        "line_no": _t("Line", "Строка", "Linia"),
        "section": _t("Section", "Раздел", "Secțiune"),
        "kind": _t("Kind", "Вид", "Tip"),
        "description": _t("Description", "Описание", "Descriere"),
        "agreement": _t("Agreement", "Договор", "Acord"),
        "points": _t("Points", "Баллы", "Puncte"),
        "postings": _t("Movements", "Движений", "Mișcări"),
        "unit_price": _t("Price per point", "Цена балла", "Preț pe punct"),
        "amount_exact": _t("Exact amount", "Точная сумма", "Sumă exactă"),
        "amount": _t("Amount", "Сумма", "Sumă"),
        "party": _t("Party", "Сторона", "Parte"),
        "opening": _t("Carried in", "Перенесено", "Reportat"),
        "receives": _t("Receives", "Получает", "Primește"),
        "pays": _t("Pays", "Платит", "Plătește"),
        "adjustments": _t("Retained and carried", "Удержано и перенесено", "Reținut și reportat"),
        "net": _t("Net", "Итог", "Net"),
        "direction": _t("Payment", "Платёж", "Plată"),
        "issuer": _t("Issuer", "Эмитент", "Emitent"),
        "redeemer": _t("Redeemer", "Принимающий", "Acceptant"),
        "fund_value": _t("Fund part", "Фондовая часть", "Partea de fond"),
        "reimbursement": _t("Reimbursement", "Возмещение", "Rambursare"),
        "spread": _t("Spread", "Спред", "Marjă"),
        "cutoff": _t("Cut-off", "Отсечка", "Limită"),
        "at": _t("At", "Когда", "Când"),
        "business_date": _t("Business date", "Дата продажи", "Data vânzării"),
        "outlet": _t("Outlet", "Точка", "Punct de vânzare"),
        "reference": _t("Reference", "Номер", "Referință"),
        "member": _t("Member", "Участник", "Membru"),
        "currency": _t("Currency", "Валюта", "Valută"),
        "run": _t("Run", "Расчёт", "Decontare"),
        "window": _t("Windows", "Окна", "Ferestre"),
        "period": _t("Period", "Период", "Perioadă"),
        "partner": _t("Partner", "Партнёр", "Partener"),
        "statement": _t("Statement", "Отчёт", "Extras"),
        "state": _t("State", "Состояние", "Stare"),
    }
)

# What a partner reads for a kind of line. A kind without a text is shown by its name.
KINDS: Mapping[str, Words] = MappingProxyType(
    {
        "OPENING": _t(
            "Carried in from the statement before", "Перенесено из прошлого отчёта", "Reportat din extrasul anterior"
        ),
        "ACTIVATION": _t("Points issued", "Выпущенные баллы", "Puncte emise"),
        "RETURN": _t("Points of returned purchases", "Баллы возвращённых покупок", "Puncte ale retururilor"),
        "RETURN_OWED": _t("Returned, owed by members", "Возвращено, долг участников", "Returnat, datorat de membri"),
        "REDEMPTION": _t("Points accepted", "Принятые баллы", "Puncte acceptate"),
        "REFUND": _t("Accepted points given back", "Принятые баллы возвращены", "Puncte acceptate restituite"),
        "FORGIVEN": _t("Points nobody gave back", "Невозвращённые баллы", "Puncte nerecuperate"),
        "EXPIRY": _t("Share of expired points", "Доля сгоревших баллов", "Cota punctelor expirate"),
        "ADJUSTMENT": _t("Adjustments, points given", "Корректировки, начислено", "Ajustări, puncte acordate"),
        "ADJUSTMENT_TAKEN": _t("Adjustments, points taken", "Корректировки, списано", "Ajustări, puncte retrase"),
        "DISCOUNT": _t("Discounts paid by others", "Скидки за счёт других", "Reduceri plătite de alții"),
        "COUPON": _t("Coupons honoured", "Принятые купоны", "Cupoane onorate"),
        "BENEFIT": _t("Benefits of the subscription", "Льготы подписки", "Beneficiile abonamentului"),
        "SUBSCRIPTION_SHARE": _t("Share of subscription fees", "Доля платы за подписку", "Cota din abonamente"),
        "PLATFORM_FEE": _t("Platform fee", "Плата за платформу", "Taxă de platformă"),
        "MINIMUM_FEE": _t("Top-up to the minimum fee", "Доплата до минимума", "Completare la taxa minimă"),
        "OUTPUT_TAX": _t(
            "Tax on what the operator supplied", "Налог на услуги оператора", "Taxă pe serviciile operatorului"
        ),
        "INPUT_TAX": _t(
            "Tax on what the partner supplied", "Налог на услуги партнёра", "Taxă pe serviciile partenerului"
        ),
        "HOLDBACK": _t("Retained", "Удержано", "Reținut"),
        "HOLDBACK_RELEASED": _t("Retention let go", "Удержание возвращено", "Reținere eliberată"),
        "CARRIED_OUT": _t(
            "Carried over, below the least paid", "Перенесено: меньше минимальной выплаты", "Reportat: sub plata minimă"
        ),
        "TIER_REBATE": _t("Rebate of the volume tiers", "Скидка ступеней объёма", "Rabat pe trepte de volum"),
        "VOLUME_REBATE": _t("Rebate on the volume", "Скидка за объём", "Rabat de volum"),
        "FUNDED_REDEMPTION": _t("Own points used elsewhere", "Свои баллы использованы", "Puncte proprii folosite"),
        "FUNDED_REFUND": _t("Own points given back", "Свои баллы возвращены", "Puncte proprii restituite"),
        "FUNDED_REPAYMENT": _t("Own points that repaid", "Свои баллы погасили долг", "Puncte proprii care au stins"),
        "REDEMPTION_BORNE": _t("Own gift accepted", "Принят свой подарок", "Cadou propriu acceptat"),
        "REFUND_BORNE": _t("Own gift given back", "Свой подарок возвращён", "Cadou propriu restituit"),
        "STOCK_TRANSFER": _t("Points taken over", "Принятые остатки баллов", "Puncte preluate"),
        "STORED_LOAD": _t("Gift cards loaded", "Пополнение карт", "Carduri cadou încărcate"),
        "STORED_SPEND": _t("Gift cards spent", "Расход с карт", "Carduri cadou cheltuite"),
        "RECEIPT_CREDITED": _t("Receipt credited", "Поступление зачтено", "Încasare recunoscută"),
        "PRICE_ADJUSTMENT": _t("Price corrected", "Исправление цены", "Preț corectat"),
        "DISPUTE_WITHHELD": _t("Disputed, set aside", "Спорное, отложено", "Disputat, pus deoparte"),
        "DISPUTE_UPHELD": _t("Dispute upheld", "Спор решён в пользу оператора", "Dispută menținută"),
        "DEPOSIT_USED": _t("Deposit used", "Использован залог", "Depozit folosit"),
        "HOLDBACK_USED": _t("Retention used", "Использовано удержание", "Reținere folosită"),
        "DEFAULT_LOSS": _t("Loss borne by the operator", "Убыток оператора", "Pierdere a operatorului"),
        "FUND": _t("Fund part received", "Получена фондовая часть", "Partea de fond primită"),
        "FUND_RETURNED": _t("Fund part given back", "Возвращена фондовая часть", "Partea de fond restituită"),
        "FUND_AT_USE": _t("Fund part at use", "Фонд при использовании", "Fond la folosire"),
        "FUND_AT_USE_RETURNED": _t(
            "Fund part at use, given back", "Фонд при использовании, возврат", "Fond la folosire, restituit"
        ),
        "SERVICE": _t("Service part received", "Получена сервисная часть", "Partea de serviciu primită"),
        "SERVICE_RETURNED": _t(
            "Service part given back", "Возвращена сервисная часть", "Partea de serviciu restituită"
        ),
        "REIMBURSEMENT": _t("Reimbursed to redeemers", "Возмещено принявшим", "Rambursat acceptanților"),
        "REIMBURSEMENT_RETURNED": _t("Reimbursement given back", "Возмещение возвращено", "Rambursare restituită"),
        "BREAKAGE_SHARE": _t("Share of what expired", "Доля сгоревшего", "Cota din ce a expirat"),
        "ROUNDING": _t("Rounding", "Округление", "Rotunjire"),
        "NET": _t("Net", "Итог", "Net"),
    }
)

# What runs, payments and breaks are in. A state without a text is shown by its name.
STATES: Mapping[str, Words] = MappingProxyType(
    {
        "DRAFT": _t("Draft", "Черновик", "Ciornă"),
        "CALCULATED": _t("Calculated", "Рассчитано", "Calculat"),
        "CONTROLLED": _t("Controlled", "Проверено", "Controlat"),
        "STATEMENTS_ISSUED": _t("Issued", "Выставлено", "Emis"),
        "IN_REVIEW": _t("In review", "На рассмотрении", "În examinare"),
        "APPROVED": _t("Approved", "Утверждено", "Aprobat"),
        "INSTRUCTED": _t("Sent to the bank", "Отправлено в банк", "Trimis la bancă"),
        "SETTLING": _t("Being paid", "Оплачивается", "În curs de plată"),
        "SETTLED": _t("Settled", "Рассчитано полностью", "Decontat"),
        "SEALED": _t("Sealed", "Опечатано", "Sigilat"),
        "ABORTED": _t("Ended", "Прекращено", "Încheiat"),
        "SUPERSEDED": _t("Drafted anew", "Составлено заново", "Refăcut"),
        "OPEN": _t("Open", "Открыто", "Deschis"),
        "ASSIGNED": _t("Assigned", "Назначено", "Atribuit"),
        "EXPLAINED": _t("Explained", "Объяснено", "Explicat"),
        "RESOLVED": _t("Resolved", "Улажено", "Rezolvat"),
        "VERIFIED": _t("Verified", "Подтверждено", "Verificat"),
        "DUE": _t("Due", "Срок", "Scadent"),
        "ACKED": _t("Taken by the bank", "Принято банком", "Preluat de bancă"),
        "REJECTED": _t("Rejected", "Отвергнуто", "Respins de bancă"),
        "PARTIAL": _t("Paid in part", "Оплачено частично", "Plătit parțial"),
        "MATCHED": _t("Paid", "Оплачено", "Plătit"),
        "RETURNED": _t("Came back", "Возвращено", "Returnat"),
        "OVERDUE": _t("Overdue", "Просрочено", "Restant"),
        "DEFAULTED": _t("Not paid: covered", "Не оплачено: покрыто", "Neplătit: acoperit"),
    }
)

SIGNS = _t(
    "Positive is what the party receives, negative what it pays. The lines sum to the net.",
    "Плюс — сторона получает, минус — платит. Строки в сумме дают итог.",
    "Pozitiv este ce primește partea, negativ ce plătește. Liniile însumate dau netul.",
)
NO_DEBT = _t(
    "A memo: there is no debt between partners; the operator is the counterparty of each.",
    "Справочно: долгов между партнёрами нет, контрагент каждого — оператор.",
    "Informativ: nu există datorii între parteneri; operatorul este contrapartea fiecăruia.",
)


def column(key: str, kind: Kind = Kind.TEXT, *, places: int = 2, is_summed: bool = False, width: int = 1) -> Column:
    """A column by its key, with its title."""
    return Column(key, COLUMNS[key], kind, places, is_summed, width)


def fact(key: str, value: Cell, kind: Kind = Kind.TEXT, *, places: int = 2) -> Fact:
    """A line of a head by its key, with its title."""
    return Fact(key, COLUMNS[key], value, kind, places)


def state(code: str) -> Term:
    """A state as a cell or a fact; one without a text is shown by its name."""
    return Term(code, STATES.get(code, {"en": code}))


def kind_of_line(kind: str) -> Term:
    """A kind of line as a cell; one without a text is shown by its name."""
    return Term(kind, KINDS.get(kind, {"en": kind}))
