"""PURE: the words of letters, in the programme's languages: of each kind its subject and its text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TEXTS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "sign_in_code": {
            "en": (
                "Your sign-in code for {programme}",
                "Your code: {code}\n\n"
                "It is good once, for {minutes} minutes, at {site} and in the browser that asked for it.\n"
                "If you did not ask for it, nothing has happened and you need do nothing. Tell it to nobody: we never "
                "ask for it.",
            ),
            "ru": (
                "Код для входа в {programme}",
                "Ваш код: {code}\n\n"
                "Он действует один раз, {minutes} минут, на {site} и в том браузере, где его запросили.\n"
                "Если вы его не запрашивали, ничего не произошло и делать ничего не нужно. Не сообщайте код никому: мы "
                "никогда его не спрашиваем.",
            ),
            "ro": (
                "Codul de conectare la {programme}",
                "Codul dumneavoastră: {code}\n\n"
                "Este valabil o singură dată, {minutes} minute, la {site} și în browserul care l-a cerut.\n"
                "Dacă nu l-ați cerut, nu s-a întâmplat nimic și nu trebuie să faceți nimic. Nu îl spuneți nimănui: noi "
                "nu îl cerem niciodată.",
            ),
        },
        "invitation": {
            "en": (
                "You may sign in to {programme}",
                "You were given access as {name}.\n\n"
                "Sign in at {site}/sign-in with this address; we then send you a code.",
            ),
            "ru": (
                "Вам открыт вход в {programme}",
                "Вам открыт доступ под именем {name}.\n\nВойдите на {site}/sign-in с этим адресом; мы пришлём код.",
            ),
            "ro": (
                "Vă puteți conecta la {programme}",
                "Ați primit acces ca {name}.\n\n"
                "Conectați-vă la {site}/sign-in cu această adresă; vă trimitem apoi un cod.",
            ),
        },
        "PASSKEY_ADDED": {
            "en": (
                "A passkey was added to your account",
                "A passkey was added on {when}.\n\nIf that was not you, sign in at {site} and remove it.",
            ),
            "ru": (
                "К вашей учётной записи добавлен ключ доступа",
                "Ключ доступа добавлен {when}.\n\nЕсли это были не вы, войдите на {site} и удалите его.",
            ),
            "ro": (
                "La contul dumneavoastră s-a adăugat o cheie de acces",
                "O cheie de acces a fost adăugată la {when}.\n\n"
                "Dacă nu ați fost dumneavoastră, conectați-vă la {site} și ștergeți-o.",
            ),
        },
        "PASSKEY_REMOVED": {
            "en": (
                "A passkey was removed from your account",
                "A passkey was removed on {when}.\n\n"
                "If that was not you, sign in at {site} and sign out everywhere else.",
            ),
            "ru": (
                "Из вашей учётной записи удалён ключ доступа",
                "Ключ доступа удалён {when}.\n\nЕсли это были не вы, войдите на {site} и завершите остальные сеансы.",
            ),
            "ro": (
                "Din contul dumneavoastră s-a șters o cheie de acces",
                "O cheie de acces a fost ștearsă la {when}.\n\n"
                "Dacă nu ați fost dumneavoastră, conectați-vă la {site} și închideți celelalte sesiuni.",
            ),
        },
        "SIGNED_OUT_EVERYWHERE": {
            "en": (
                "Your account was signed out everywhere",
                "All sessions of your account were ended on {when}.\n\nSign in again at {site}.",
            ),
            "ru": (
                "Все сеансы вашей учётной записи завершены",
                "Все сеансы завершены {when}.\n\nВойти снова можно на {site}.",
            ),
            "ro": (
                "Toate sesiunile contului dumneavoastră s-au închis",
                "Toate sesiunile au fost închise la {when}.\n\nVă puteți conecta din nou la {site}.",
            ),
        },
        "SPENDING_UNLOCKED": {
            "en": (
                "Your points can be spent again",
                "The spend lock of your account was opened on {when}.\n\n"
                "If that was not you, sign in at {site}, lock it and sign out everywhere else.",
            ),
            "ru": (
                "Ваши баллы снова можно тратить",
                "Блокировка списания снята {when}.\n\n"
                "Если это были не вы, войдите на {site}, включите её и завершите остальные сеансы.",
            ),
            "ro": (
                "Punctele dumneavoastră se pot folosi din nou",
                "Blocarea cheltuirii a fost ridicată la {when}.\n\n"
                "Dacă nu ați fost dumneavoastră, conectați-vă la {site}, activați-o și închideți celelalte sesiuni.",
            ),
        },
        "DAILY_CAP_RAISED": {
            "en": (
                "More of your points can be spent in a day",
                "The daily limit of your account was raised or taken away on {when}.\n\n"
                "If that was not you, sign in at {site}, set it again and sign out everywhere else.",
            ),
            "ru": (
                "За день можно потратить больше ваших баллов",
                "Дневной лимит повышен или снят {when}.\n\n"
                "Если это были не вы, войдите на {site}, задайте его снова и завершите остальные сеансы.",
            ),
            "ro": (
                "Se pot folosi mai multe puncte pe zi",
                "Limita zilnică a fost ridicată sau ștearsă la {when}.\n\n"
                "Dacă nu ați fost dumneavoastră, conectați-vă la {site}, stabiliți-o din nou și închideți celelalte "
                "sesiuni.",
            ),
        },
        "CARD_IN_WALLET": {
            "en": (
                "A card of yours was made for a wallet",
                "A card of your account was made for the wallet of a phone on {when}. It earns points and by itself "
                "spends none.\n\n"
                "If that was not you, sign in at {site}, report that card gone and sign out everywhere else.",
            ),
            "ru": (
                "Ваша карта сделана для кошелька",
                "Карта вашей учётной записи сделана для кошелька телефона {when}. С неё баллы начисляются, но "
                "сама она их не тратит.\n\n"
                "Если это были не вы, войдите на {site}, отметьте карту утерянной и завершите остальные сеансы.",
            ),
            "ro": (
                "Un card al dumneavoastră a fost făcut pentru portofel",
                "Un card al contului a fost făcut pentru portofelul unui telefon la {when}. Adună puncte și nu le "
                "folosește singur.\n\nDacă nu ați fost dumneavoastră, conectați-vă la {site}, raportați cardul pierdut "
                "și închideți celelalte sesiuni.",
            ),
        },
        "CARD_ON_DEVICE": {
            "en": (
                "Your card is on a new device",
                "A card of your account was put on a device on {when}. It can spend your points.\n\n"
                "If that was not you, sign in at {site}, report that card gone and sign out everywhere else.",
            ),
            "ru": (
                "Ваша карта добавлена на новое устройство",
                "Карта вашей учётной записи добавлена на устройство {when}. С неё можно тратить баллы.\n\n"
                "Если это были не вы, войдите на {site}, отметьте карту утерянной и завершите остальные сеансы.",
            ),
            "ro": (
                "Cardul dumneavoastră este pe un dispozitiv nou",
                "Un card al contului a fost pus pe un dispozitiv la {when}. Cu el se pot folosi punctele.\n\n"
                "Dacă nu ați fost dumneavoastră, conectați-vă la {site}, raportați cardul ca pierdut și închideți "
                "celelalte sesiuni.",
            ),
        },
        "expiry": {
            "en": (
                "Points of yours expire soon",
                "{points} of yours in {programme} will expire on {when}.\n\n"
                "Until then you can spend them at every partner.",
            ),
            "ru": (
                "Срок действия ваших баллов заканчивается",
                "{points} в {programme} сгорят {when}.\n\nДо этого их можно потратить у любого партнёра.",
            ),
            "ro": (
                "Puncte ale dumneavoastră expiră în curând",
                "{points} din {programme} expiră la {when}.\n\nPână atunci le puteți folosi la orice partener.",
            ),
        },
        "webhook_FAILING": {
            "en": (
                "Your webhook endpoint was disabled",
                "For five days your endpoint at {host} took nothing that we sent: we send nothing there now.\n\n"
                "What happens meanwhile is kept for 30 days. Once it works, enable it at {site}/portal/webhooks; what "
                "was kept is sent then, and what had failed can be sent again there.",
            ),
            "ru": (
                "Ваша точка приёма вебхуков отключена",
                "Пять дней точка приёма на {host} ничего не принимала, и больше мы туда ничего не отправляем.\n\n"
                "Новые события хранятся 30 дней. Когда точка заработает, включите её на {site}/portal/webhooks: "
                "сохранённое будет отправлено, а неудачные отправки там же можно повторить.",
            ),
            "ro": (
                "Punctul dumneavoastră de webhookuri a fost dezactivat",
                "Timp de cinci zile punctul de la {host} nu a primit nimic, așa că nu îi mai trimitem nimic.\n\n"
                "Evenimentele noi se păstrează 30 de zile. Când punctul funcționează, activați-l la "
                "{site}/portal/webhooks: cele păstrate se trimit atunci, iar cele eșuate se pot retrimite acolo.",
            ),
        },
        "webhook_GONE": {
            "en": (
                "Your webhook endpoint was disabled",
                "Your endpoint at {host} answered that it is gone (410), so nothing is sent to it any more.\n\n"
                "What happens meanwhile is kept for 30 days. If that was a mistake, enable the endpoint at "
                "{site}/portal/webhooks.",
            ),
            "ru": (
                "Ваша точка приёма вебхуков отключена",
                "Точка приёма на {host} ответила, что её больше нет (410), и мы туда ничего не отправляем.\n\n"
                "Новые события хранятся 30 дней. Если это ошибка, включите точку на {site}/portal/webhooks.",
            ),
            "ro": (
                "Punctul dumneavoastră de webhookuri a fost dezactivat",
                "Punctul de la {host} a răspuns că nu mai există (410), așa că nu îi mai trimitem nimic.\n\n"
                "Evenimentele noi se păstrează 30 de zile. Dacă a fost o greșeală, activați punctul la "
                "{site}/portal/webhooks.",
            ),
        },
        "expiry_reminder": {
            "en": (
                "Points of yours expire soon",
                "These points of yours in {programme} will expire:\n\n{endings}\n\n"
                "Where you can spend them: {site}/app/places",
            ),
            "ru": (
                "Срок действия ваших баллов заканчивается",
                "Эти ваши баллы в {programme} сгорят:\n\n{endings}\n\nГде их можно потратить: {site}/app/places",
            ),
            "ro": (
                "Puncte ale dumneavoastră expiră în curând",
                "Aceste puncte ale dumneavoastră din {programme} expiră:\n\n{endings}\n\n"
                "Unde le puteți cheltui: {site}/app/places",
            ),
        },
        "claim_CREDITED": {
            "en": (
                "Your missing points were given",
                "For your purchase at {partner} on {day} you were given {points}.\n\nSee them at {site}.",
            ),
            "ru": (
                "Недостающие баллы начислены",
                "За покупку в {partner} {day} начислено: {points}.\n\nОни видны на {site}.",
            ),
            "ro": (
                "Punctele lipsă au fost acordate",
                "Pentru bonul de la {partner} din {day} ați primit {points}.\n\nLe vedeți la {site}.",
            ),
        },
        "claim_FOUND": {
            "en": (
                "The receipt that you claimed has arrived",
                "Your purchase at {partner} on {day} was sent to us meanwhile. Its points are on the card that was "
                "shown.\n\nSee {site}.",
            ),
            "ru": (
                "Чек из вашей заявки поступил",
                "Данные о покупке в {partner} {day} тем временем поступили. Баллы начислены на карту, которую "
                "предъявили.\n\nПодробнее на {site}.",
            ),
            "ro": (
                "Bonul din cererea dumneavoastră a sosit",
                "Bonul de la {partner} din {day} ne-a fost transmis între timp. Punctele sunt pe cardul care a "
                "fost arătat.\n\nVedeți {site}.",
            ),
        },
        "claim_REFUSED": {
            "en": (
                "The partner refused your claim",
                "{partner} says that no points are missing for {day}.\n\nIf that is wrong, you can have us decide "
                "until {until}, at {site}.",
            ),
            "ru": (
                "Партнёр отклонил вашу заявку",
                "{partner} сообщает, что за {day} недостающих баллов нет.\n\nЕсли это не так, до {until} вы можете "
                "передать решение нам на {site}.",
            ),
            "ro": (
                "Partenerul a respins cererea dumneavoastră",
                "{partner} spune că pentru {day} nu lipsesc puncte.\n\nDacă nu este așa, până la {until} puteți cere "
                "la {site} să hotărâm noi.",
            ),
        },
        "claim_DISMISSED": {
            "en": (
                "We decided on your claim",
                "We looked at your purchase at {partner} on {day}. No points are given for it.\n\nThe reason is at "
                "{site}.",
            ),
            "ru": (
                "Мы приняли решение по вашей заявке",
                "Мы рассмотрели покупку в {partner} {day}. Баллы за неё не начисляются.\n\nПричина указана на {site}.",
            ),
            "ro": (
                "Am hotărât asupra cererii dumneavoastră",
                "Am analizat bonul de la {partner} din {day}. Pentru el nu se acordă puncte.\n\nMotivul este la "
                "{site}.",
            ),
        },
        "renewal": {
            "en": (
                "Your subscription will be renewed",
                "Your subscription {plan} in {programme} will be renewed on {when} for {price}.\n\n"
                "You can cancel it before then at {site}.",
            ),
            "ru": (
                "Ваша подписка будет продлена",
                "Подписка {plan} в {programme} будет продлена {when} за {price}.\n\n"
                "До этого её можно отменить на {site}.",
            ),
            "ro": (
                "Abonamentul dumneavoastră va fi reînnoit",
                "Abonamentul {plan} din {programme} va fi reînnoit la {when} pentru {price}.\n\n"
                "Îl puteți anula până atunci la {site}.",
            ),
        },
        "payment_UNPAID": {
            "en": (
                "A payment for your subscription did not come",
                "{price} for your subscription {plan} in {programme} has not been paid (number {reference}).\n\n"
                "Nothing changes for some days. If it is not paid by {until}, the subscription ends. See {site}.",
            ),
            "ru": (
                "Платёж за вашу подписку не поступил",
                "Сумма {price} за подписку {plan} в {programme} не оплачена (номер {reference}).\n\n"
                "Несколько дней ничего не меняется. Если до {until} оплаты не будет, подписка закончится. Подробнее на "
                "{site}.",
            ),
            "ro": (
                "O plată pentru abonamentul dumneavoastră nu a sosit",
                "Suma de {price} pentru abonamentul {plan} din {programme} nu a fost plătită (numărul {reference}).\n\n"
                "Câteva zile nu se schimbă nimic. Dacă nu este plătită până la {until}, abonamentul se încheie. Vedeți "
                "{site}.",
            ),
        },
        "payment_ON_HOLD": {
            "en": (
                "Your subscription is on hold",
                "{price} for your subscription {plan} in {programme} has still not been paid (number {reference}), so "
                "it gives nothing for now.\n\nIt goes on when it is paid. If it is not paid by {until}, the "
                "subscription ends. See {site}.",
            ),
            "ru": (
                "Ваша подписка приостановлена",
                "Сумма {price} за подписку {plan} в {programme} всё ещё не оплачена (номер {reference}), поэтому "
                "сейчас подписка ничего не даёт.\n\nПосле оплаты она продолжится. Если до {until} оплаты не будет, "
                "подписка закончится. Подробнее на {site}.",
            ),
            "ro": (
                "Abonamentul dumneavoastră este suspendat",
                "Suma de {price} pentru abonamentul {plan} din {programme} încă nu a fost plătită (numărul "
                "{reference}), așa că deocamdată nu mai dă nimic.\n\nContinuă după plată. Dacă suma nu este plătită "
                "până la {until}, abonamentul se încheie. Vedeți {site}.",
            ),
        },
        "payment_ENDED": {
            "en": (
                "Your subscription has ended",
                "{price} for your subscription {plan} in {programme} was not paid (number {reference}), so it ended on "
                "{until}. You owe nothing for it.\n\nYour points stay yours. See {site}.",
            ),
            "ru": (
                "Ваша подписка закончилась",
                "Сумма {price} за подписку {plan} в {programme} не была оплачена (номер {reference}), поэтому она "
                "закончилась {until}. Вы за неё ничего не должны.\n\nБаллы остаются вашими. Подробнее на {site}.",
            ),
            "ro": (
                "Abonamentul dumneavoastră s-a încheiat",
                "Suma de {price} pentru abonamentul {plan} din {programme} nu a fost plătită (numărul {reference}), "
                "așa că s-a încheiat la {until}. Nu datorați nimic pentru el.\n\nPunctele rămân ale dumneavoastră. "
                "Vedeți {site}.",
            ),
        },
    }
)
