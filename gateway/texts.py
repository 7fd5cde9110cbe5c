"""PURE: what a cashier reads when a request was refused, in the programme's languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_GENERIC_RETRYABLE = {
    "en": "This did not work. Please try again.",
    "ru": "Не получилось. Попробуйте ещё раз.",
    "ro": "Nu a reușit. Încercați din nou.",
}
_GENERIC_FINAL = {
    "en": "This is not possible. Finish the sale without points.",
    "ru": "Это невозможно. Завершите продажу без баллов.",
    "ro": "Nu este posibil. Finalizați vânzarea fără puncte.",
}

_TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "CARD_UNKNOWN": {
            "en": "This card is not known. Check the number.",
            "ru": "Карта не найдена. Проверьте номер.",
            "ro": "Cardul nu este cunoscut. Verificați numărul.",
        },
        "EARNING_PAUSED": {
            "en": "No points can be given for the moment. Finish the sale without them.",
            "ru": "Сейчас баллы не начисляются. Завершите продажу без них.",
            "ro": "Momentan nu se pot acorda puncte. Finalizați vânzarea fără ele.",
        },
        "DISCOUNT_NOT_GRANTED": {
            "en": "This discount does not apply any more. Ask for the price again.",
            "ru": "Эта скидка больше не действует. Запросите цену ещё раз.",
            "ro": "Această reducere nu mai este valabilă. Cereți din nou prețul.",
        },
        "MEMBER_UNKNOWN": {
            "en": "No member was found.",
            "ru": "Участник не найден.",
            "ro": "Membrul nu a fost găsit.",
        },
        "CARD_BLOCKED": {
            "en": "This card is blocked. Ask for another one.",
            "ru": "Карта заблокирована. Попросите другую.",
            "ro": "Cardul este blocat. Cereți altul.",
        },
        "MEMBER_CLOSED": {
            "en": "This membership has ended.",
            "ru": "Участие в программе прекращено.",
            "ro": "Calitatea de membru a încetat.",
        },
        "INSUFFICIENT_POINTS": {
            "en": "Not enough points.",
            "ru": "Недостаточно баллов.",
            "ro": "Puncte insuficiente.",
        },
        "POINTS_EXCEED_SHARE": {
            "en": "Too many points for this bill. Use fewer.",
            "ru": "Слишком много баллов для этого чека. Спишите меньше.",
            "ro": "Prea multe puncte pentru acest bon. Folosiți mai puține.",
        },
        "PARTNER_DOES_NOT_ISSUE": {
            "en": "No points are earned here.",
            "ru": "Здесь баллы не начисляются.",
            "ro": "Aici nu se acumulează puncte.",
        },
        "PARTNER_DOES_NOT_REDEEM": {
            "en": "Points cannot be spent here. Finish the sale without points.",
            "ru": "Здесь нельзя оплатить баллами. Завершите продажу без баллов.",
            "ro": "Aici nu se pot folosi puncte. Finalizați vânzarea fără puncte.",
        },
        "SPENDING_LOCKED": {
            "en": "Spending points is locked on this card. The member unlocks it.",
            "ru": "Списание баллов по карте закрыто. Его открывает участник.",
            "ro": "Folosirea punctelor este blocată pe acest card. Membrul o deblochează.",
        },
        "DAILY_CAP_REACHED": {
            "en": "The day's limit of points is reached.",
            "ru": "Достигнут дневной лимит баллов.",
            "ro": "Limita zilnică de puncte este atinsă.",
        },
        "PROOF_REQUIRED": {
            "en": "Ask for the code on the phone or the PIN.",
            "ru": "Попросите код из приложения или ПИН.",
            "ro": "Cereți codul din telefon sau PIN-ul.",
        },
        "PROOF_INVALID": {
            "en": "The code or PIN is wrong. Ask again.",
            "ru": "Неверный код или ПИН. Попросите ещё раз.",
            "ro": "Codul sau PIN-ul este greșit. Cereți din nou.",
        },
        "CODE_USED": {
            "en": "This code was used already. Ask for a new one.",
            "ru": "Этот код уже использован. Попросите новый.",
            "ro": "Acest cod a fost deja folosit. Cereți unul nou.",
        },
        "HOLD_UNKNOWN": {
            "en": "These points were not set aside here.",
            "ru": "Такого резерва баллов нет.",
            "ro": "Aceste puncte nu au fost rezervate aici.",
        },
        "HOLD_RESOLVED": {
            "en": "The points set aside were used or set free already.",
            "ru": "Резерв баллов уже использован или снят.",
            "ro": "Punctele rezervate au fost deja folosite sau eliberate.",
        },
        "HOLD_LAPSED": {
            "en": "The points were set aside too long ago. Ask again.",
            "ru": "Срок резерва баллов истёк. Запросите снова.",
            "ro": "Rezervarea punctelor a expirat. Cereți din nou.",
        },
        "CAPTURE_EXCEEDS_HOLD": {
            "en": "More points than were set aside. Use fewer.",
            "ru": "Больше баллов, чем в резерве. Спишите меньше.",
            "ro": "Mai multe puncte decât s-au rezervat. Folosiți mai puține.",
        },
        "APPROVAL_PENDING": {
            "en": "The member has not answered on the phone yet.",
            "ru": "Участник ещё не ответил в приложении.",
            "ro": "Membrul nu a răspuns încă în aplicație.",
        },
        "APPROVAL_DECLINED": {
            "en": "The member declined on the phone.",
            "ru": "Участник отказал в приложении.",
            "ro": "Membrul a refuzat în aplicație.",
        },
        "APPROVAL_MISMATCH": {
            "en": "The member agreed to another number of points.",
            "ru": "Участник согласился на другое число баллов.",
            "ro": "Membrul a acceptat un alt număr de puncte.",
        },
        "CODE_LOCKED": {
            "en": "Too many wrong codes. Ask for the PIN.",
            "ru": "Слишком много неверных кодов. Попросите ПИН.",
            "ro": "Prea multe coduri greșite. Cereți PIN-ul.",
        },
        "RATE_LIMITED": {
            "en": "Too many unknown cards here. Try again later.",
            "ru": "Слишком много неизвестных карт. Попробуйте позже.",
            "ro": "Prea multe carduri necunoscute aici. Încercați mai târziu.",
        },
        "CARD_REGISTERED": {
            "en": "This card is registered already.",
            "ru": "Эта карта уже зарегистрирована.",
            "ro": "Acest card este deja înregistrat.",
        },
        "PERSONAL_INVALID": {
            "en": "Something of what was entered cannot be right.",
            "ru": "Что-то из введённого неверно.",
            "ro": "Ceva din ce s-a introdus nu este corect.",
        },
        "RECEIPT_ALREADY_RECORDED": {
            "en": "This receipt is recorded already.",
            "ru": "Этот чек уже учтён.",
            "ro": "Acest bon este deja înregistrat.",
        },
        "RECEIPT_CANCELLED": {
            "en": "This receipt was cancelled.",
            "ru": "Этот чек отменён.",
            "ro": "Acest bon a fost anulat.",
        },
        "RECEIPT_UNKNOWN": {
            "en": "The purchase was not found. Check the receipt.",
            "ru": "Покупка не найдена. Проверьте чек.",
            "ro": "Cumpărătura nu a fost găsită. Verificați bonul.",
        },
        "LINE_ALREADY_RETURNED": {
            "en": "This item was returned already.",
            "ru": "Этот товар уже возвращён.",
            "ro": "Acest produs a fost deja returnat.",
        },
        "RETURN_EXCEEDS_ORIGINAL": {
            "en": "More is being returned than was bought.",
            "ru": "Возвращается больше, чем было куплено.",
            "ro": "Se returnează mai mult decât s-a cumpărat.",
        },
        "CONSENT_REQUIRED": {
            "en": "The customer has to agree to the terms first.",
            "ru": "Сначала покупатель должен принять условия.",
            "ro": "Clientul trebuie mai întâi să accepte condițiile.",
        },
        "ALREADY_ENROLLED": {
            "en": "This customer is a member already.",
            "ru": "Этот покупатель уже участник.",
            "ro": "Acest client este deja membru.",
        },
        "COUPON_INVALID": {
            "en": "This coupon is not valid here.",
            "ru": "Этот купон здесь не действует.",
            "ro": "Acest cupon nu este valabil aici.",
        },
        "COUPONS_LIMITED": {
            "en": "Too many wrong coupons. Try again later.",
            "ru": "Слишком много неверных купонов. Попробуйте позже.",
            "ro": "Prea multe cupoane greșite. Încercați mai târziu.",
        },
        "COUPONS_TOO_MANY": {
            "en": "So many coupons cannot be used together.",
            "ru": "Столько купонов нельзя применить вместе.",
            "ro": "Atât de multe cupoane nu pot fi folosite împreună.",
        },
        "COUPONS_TOO_FEW": {
            "en": "More of these coupons are needed together.",
            "ru": "Нужно больше таких купонов сразу.",
            "ro": "Sunt necesare mai multe astfel de cupoane împreună.",
        },
        "COUPON_PROOF_REQUIRED": {
            "en": "For this coupon the member shows a code or enters the PIN.",
            "ru": "Для этого купона участник показывает код или вводит PIN.",
            "ro": "Pentru acest cupon membrul arată un cod sau introduce PIN-ul.",
        },
        "COUPON_EXHAUSTED": {
            "en": "This coupon has been used up.",
            "ru": "Этот купон уже исчерпан.",
            "ro": "Acest cupon a fost epuizat.",
        },
        "STAMPS_SHORT": {
            "en": "Not enough stamps yet.",
            "ru": "Пока не хватает марок.",
            "ro": "Încă nu sunt destule ștampile.",
        },
        "ENTITLEMENT_USED": {
            "en": "The customer has no such right left here.",
            "ru": "У покупателя здесь не осталось такого права.",
            "ro": "Clientul nu mai are aici un astfel de drept.",
        },
        "REWARD_UNKNOWN": {
            "en": "There is no such reward.",
            "ru": "Такой награды нет.",
            "ro": "Nu există o astfel de recompensă.",
        },
        "REWARD_SOLD_OUT": {
            "en": "None of this reward is left.",
            "ru": "Эта награда закончилась.",
            "ro": "Această recompensă s-a epuizat.",
        },
        "MOMENT_COUNTED": {
            "en": "This counted already.",
            "ru": "Это уже засчитано.",
            "ro": "Aceasta a fost deja luată în considerare.",
        },
        "INVITATION_INVALID": {
            "en": "This invitation does not count.",
            "ru": "Это приглашение не засчитывается.",
            "ro": "Această invitație nu se ia în considerare.",
        },
        "PLAN_REQUIRED": {
            "en": "Points can be spent here only with a plan. They stay on the card.",
            "ru": "Здесь баллы тратят только по подписке. Они остаются на карте.",
            "ro": "Aici punctele se folosesc doar cu abonament. Ele rămân pe card.",
        },
        "NOT_ENTITLED": {
            "en": "The customer's plan does not include this now.",
            "ru": "Подписка покупателя сейчас этого не даёт.",
            "ro": "Abonamentul clientului nu include acum acest lucru.",
        },
        "USE_INVALID": {
            "en": "This use cannot be recorded: check the number and the time.",
            "ru": "Это не учесть: проверьте количество и время.",
            "ro": "Nu se poate înregistra: verificați numărul și ora.",
        },
        "SUBSCRIPTION_STATE": {
            "en": "The subscription does not allow this now.",
            "ru": "Подписка сейчас этого не позволяет.",
            "ro": "Abonamentul nu permite acest lucru acum.",
        },
        "BUSY": {
            "en": "One moment, please try again.",
            "ru": "Минуту, попробуйте ещё раз.",
            "ro": "Un moment, încercați din nou.",
        },
    }
)


def cashier_text(code: str, *, retryable: bool, language: str) -> str:
    """A short sentence for the till's screen; a general one for codes that have none of their own."""
    texts = _TEXTS.get(code) or (_GENERIC_RETRYABLE if retryable else _GENERIC_FINAL)
    return texts.get(language, texts["en"])
