"""PURE: what the pages of signing in say, in the programme's languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "skip": {"en": "Skip to the content", "ru": "К содержанию", "ro": "Salt la conținut"},
        "sign_in": {"en": "Sign in", "ru": "Вход", "ro": "Conectare"},
        "sign_in_staff": {"en": "Staff sign-in", "ru": "Вход для сотрудников", "ro": "Conectarea personalului"},
        "sign_in_colleague": {"en": "Partner sign-in", "ru": "Вход для партнёров", "ro": "Conectarea partenerilor"},
        "sign_in_lead": {
            "en": "We send a code to your address. There is no password.",
            "ru": "Мы пришлём код на ваш адрес. Пароль не нужен.",
            "ro": "Trimitem un cod la adresa dumneavoastră. Nu există parolă.",
        },
        "address": {"en": "E-mail address or phone", "ru": "Электронная почта или телефон", "ro": "E-mail sau telefon"},
        "address_staff": {"en": "E-mail address", "ru": "Электронная почта", "ro": "Adresă de e-mail"},
        "address_missing": {
            "en": "Enter an e-mail address or a phone number with its country code.",
            "ru": "Введите электронную почту или телефон с кодом страны.",
            "ro": "Introduceți o adresă de e-mail sau un telefon cu prefixul țării.",
        },
        "send_code": {"en": "Send me a code", "ru": "Прислать код", "ro": "Trimiteți-mi un cod"},
        "or": {"en": "or", "ru": "или", "ro": "sau"},
        "use_passkey": {"en": "Use a passkey", "ru": "Войти с ключом доступа", "ro": "Folosesc o cheie de acces"},
        "enter_code": {"en": "Enter the code", "ru": "Введите код", "ro": "Introduceți codul"},
        "code_lead": {
            "en": "If we know the address, a code is on its way to it. It is good for 10 minutes.",
            "ru": "Если адрес нам известен, код уже отправлен. Он действует 10 минут.",
            "ro": "Dacă adresa ne este cunoscută, codul este pe drum. Este valabil 10 minute.",
        },
        "code_where": {
            "en": "This installation sends no e-mail. The code lies in the mailbox of its sandbox.",
            "ru": "Эта установка не отправляет почту. Код лежит в почтовом ящике песочницы.",
            "ro": "Această instalare nu trimite e-mail. Codul se află în cutia poștală a mediului de probă.",
        },
        "open_mailbox": {"en": "Open the mailbox", "ru": "Открыть ящик", "ro": "Deschid cutia poștală"},
        "code": {"en": "Code", "ru": "Код", "ro": "Cod"},
        "code_hint": {"en": "Eight digits", "ru": "Восемь цифр", "ro": "Opt cifre"},
        "code_hint_staff": {
            "en": "Eight digits, or your invitation",
            "ru": "Восемь цифр или приглашение",
            "ro": "Opt cifre sau invitația",
        },
        "another_code": {"en": "Ask for another code", "ru": "Запросить другой код", "ro": "Cer alt cod"},
        "SIGN_IN_CODE_INVALID": {
            "en": "This code is not right, or its time is over. Check the digits, or ask for another code.",
            "ru": "Код неверен или его время истекло. Проверьте цифры или запросите другой код.",
            "ro": "Codul nu este corect sau a expirat. Verificați cifrele sau cereți alt cod.",
        },
        "SIGN_IN_TOO_OFTEN": {
            "en": "Too many codes were asked for. Wait an hour, or use a passkey.",
            "ru": "Запрошено слишком много кодов. Подождите час или войдите с ключом доступа.",
            "ro": "S-au cerut prea multe coduri. Așteptați o oră sau folosiți o cheie de acces.",
        },
        "PASSKEY_INVALID": {
            "en": "The passkey was not accepted. Try again, or ask for a code.",
            "ru": "Ключ доступа не принят. Попробуйте ещё раз или запросите код.",
            "ro": "Cheia de acces nu a fost acceptată. Încercați din nou sau cereți un cod.",
        },
        "PASSKEY_UNKNOWN": {
            "en": "There is no such passkey any more.",
            "ru": "Такого ключа доступа больше нет.",
            "ro": "Această cheie de acces nu mai există.",
        },
        "PASSKEYS_TOO_MANY": {
            "en": "You have as many passkeys as one may have. Remove one first.",
            "ru": "У вас уже наибольшее число ключей доступа. Сначала удалите один.",
            "ro": "Aveți deja numărul maxim de chei de acces. Ștergeți mai întâi una.",
        },
        "STEP_UP_REQUIRED": {
            "en": "Confirm first that it is you.",
            "ru": "Сначала подтвердите, что это вы.",
            "ro": "Confirmați mai întâi că sunteți dumneavoastră.",
        },
        "ADDRESS_UNKNOWN": {
            "en": "We have no address of yours to send a code to. Use a passkey.",
            "ru": "У нас нет вашего адреса для кода. Войдите с ключом доступа.",
            "ro": "Nu avem o adresă la care să trimitem codul. Folosiți o cheie de acces.",
        },
        "PERSONAL_INVALID": {
            "en": "That is no language or time zone that we know.",
            "ru": "Такого языка или часового пояса мы не знаем.",
            "ro": "Nu cunoaștem această limbă sau acest fus orar.",
        },
        "passkey_cancelled": {
            "en": "The browser did not use a passkey. Nothing has changed.",
            "ru": "Браузер не использовал ключ доступа. Ничего не изменилось.",
            "ro": "Browserul nu a folosit o cheie de acces. Nu s-a schimbat nimic.",
        },
        "confirm": {"en": "Confirm that it is you", "ru": "Подтвердите, что это вы", "ro": "Confirmați identitatea"},
        "confirm_lead": {
            "en": "What you are about to do takes a proof of the last five minutes.",
            "ru": "Для этого действия нужно подтверждение за последние пять минут.",
            "ro": "Această acțiune cere o confirmare din ultimele cinci minute.",
        },
        "security": {"en": "Security", "ru": "Безопасность", "ro": "Securitate"},
        "signed_in_as": {"en": "Signed in as {name}.", "ru": "Вы вошли как {name}.", "ro": "Conectat ca {name}."},
        "sessions": {"en": "Where you are signed in", "ru": "Где выполнен вход", "ro": "Unde sunteți conectat"},
        "browser": {"en": "Browser", "ru": "Браузер", "ro": "Browser"},
        "since": {"en": "Since", "ru": "С", "ro": "Din"},
        "last_used": {"en": "Last used", "ru": "Последнее использование", "ro": "Ultima folosire"},
        "action": {"en": "Action", "ru": "Действие", "ro": "Acțiune"},
        "this_browser": {"en": "this browser", "ru": "этот браузер", "ro": "acest browser"},
        "sign_out": {"en": "Sign out", "ru": "Выйти", "ro": "Deconectare"},
        "end_session": {"en": "Sign out: {browser}", "ru": "Завершить: {browser}", "ro": "Închid: {browser}"},
        "sign_out_everywhere": {
            "en": "Sign out everywhere",
            "ru": "Выйти везде",
            "ro": "Deconectare peste tot",
        },
        "passkeys": {"en": "Passkeys", "ru": "Ключи доступа", "ro": "Chei de acces"},
        "passkeys_lead": {
            "en": "A passkey signs you in with your device's lock. There is nothing in it that you could be tricked into telling.",
            "ru": "Ключ доступа открывает вход блокировкой вашего устройства. В нём нет ничего, что можно выманить.",
            "ro": "O cheie de acces vă conectează cu blocarea dispozitivului. Nu conține nimic ce ați putea fi păcălit să spuneți.",
        },
        "passkey": {"en": "Passkey", "ru": "Ключ доступа", "ro": "Cheie de acces"},
        "no_passkeys": {"en": "You have none yet.", "ru": "Пока нет ни одного.", "ro": "Încă nu aveți niciuna."},
        "passkeys_impossible": {
            "en": "Passkeys need a host name; this address is a bare number.",
            "ru": "Для ключей доступа нужно имя узла; этот адрес — просто число.",
            "ro": "Cheile de acces cer un nume de gazdă; această adresă este doar un număr.",
        },
        "passkeys_need_script": {
            "en": "To add a passkey, this page needs JavaScript and a browser that knows passkeys.",
            "ru": "Чтобы добавить ключ доступа, нужен JavaScript и браузер, который их поддерживает.",
            "ro": "Pentru a adăuga o cheie de acces sunt necesare JavaScript și un browser care le cunoaște.",
        },
        "add_passkey": {"en": "Add a passkey", "ru": "Добавить ключ доступа", "ro": "Adaug o cheie de acces"},
        "passkey_of": {"en": "Passkey of {when}", "ru": "Ключ от {when}", "ro": "Cheie din {when}"},
        "kept": {"en": "Kept in", "ru": "Хранится", "ro": "Păstrată în"},
        "kept_synced": {"en": "your account of passkeys", "ru": "в вашем хранилище", "ro": "contul de chei"},
        "kept_device": {"en": "one device", "ru": "в одном устройстве", "ro": "un dispozitiv"},
        "never": {"en": "never", "ru": "никогда", "ro": "niciodată"},
        "remove": {"en": "Remove", "ru": "Удалить", "ro": "Șterg"},
        "remove_passkey": {"en": "Remove the passkey of {when}", "ru": "Удалить ключ от {when}", "ro": "Șterg cheia din {when}"},
        "manner": {"en": "How we write to you", "ru": "Как мы вам пишем", "ro": "Cum vă scriem"},
        "language": {"en": "Language", "ru": "Язык", "ro": "Limba"},
        "time_zone": {"en": "Time zone", "ru": "Часовой пояс", "ro": "Fus orar"},
        "time_zone_programme": {
            "en": "The programme's ({zone})",
            "ru": "Как у программы ({zone})",
            "ro": "Al programului ({zone})",
        },
        "save": {"en": "Save", "ru": "Сохранить", "ro": "Salvez"},
        "saved": {"en": "Saved.", "ru": "Сохранено.", "ro": "Salvat."},
        "forbidden": {"en": "Not for you", "ru": "Нет доступа", "ro": "Fără acces"},
        "forbidden_lead": {
            "en": "This page takes the role {role}. Ask whoever grants roles.",
            "ru": "Для этой страницы нужна роль {role}. Обратитесь к тому, кто выдаёт роли.",
            "ro": "Această pagină cere rolul {role}. Adresați-vă celui care acordă roluri.",
        },
        "mailbox": {"en": "Mailbox", "ru": "Почтовый ящик", "ro": "Cutia poștală"},
        "mailbox_lead": {
            "en": "What was written to people, and what became of it.",
            "ru": "Что было написано людям и что с этим стало.",
            "ro": "Ce s-a scris oamenilor și ce s-a întâmplat cu mesajele.",
        },
        "mailbox_empty": {
            "en": "Nothing was written to anybody yet.",
            "ru": "Пока никому ничего не написано.",
            "ro": "Încă nu s-a scris nimănui.",
        },
        "mailbox_older": {
            "en": "Only the last {count} are shown.",
            "ru": "Показаны только последние {count}.",
            "ro": "Se afișează doar ultimele {count}.",
        },
        "purpose": {"en": "About", "ru": "О чём", "ro": "Despre"},
        "written": {"en": "Written", "ru": "Написано", "ro": "Scris"},
        "to": {"en": "To", "ru": "Кому", "ro": "Către"},
        "what_became": {"en": "What became of it", "ru": "Что стало", "ro": "Ce s-a întâmplat"},
        "member_number": {"en": "member {number}", "ru": "участник {number}", "ro": "membrul {number}"},
        "staff_number": {"en": "staff {number}", "ru": "сотрудник {number}", "ro": "personal {number}"},
        "colleague_number": {
            "en": "partner's colleague {number}",
            "ru": "сотрудник партнёра {number}",
            "ro": "colegul {number} al unui partener",
        },
        "SIGN_IN_CODE": {"en": "Sign-in code", "ru": "Код для входа", "ro": "Cod de conectare"},
        "SECURITY_NOTICE": {"en": "Security", "ru": "Безопасность", "ro": "Securitate"},
        "INVITATION": {"en": "Invitation", "ru": "Приглашение", "ro": "Invitație"},
        "EXPIRY_NOTICE": {"en": "Points that expire", "ru": "Сгорание баллов", "ro": "Puncte care expiră"},
        "CLAIM_NOTICE": {"en": "Your claim", "ru": "Ваша заявка", "ro": "Cererea dumneavoastră"},
        "RENEWAL_NOTICE": {"en": "Renewal", "ru": "Продление подписки", "ro": "Reînnoire"},
        "SERVICE_NOTICE": {"en": "Your systems", "ru": "Ваши системы", "ro": "Sistemele dumneavoastră"},
        "PAYMENT_NOTICE": {"en": "Payment", "ru": "Оплата подписки", "ro": "Plată"},
        "waiting": {"en": "waiting to be sent", "ru": "ожидает отправки", "ro": "așteaptă trimiterea"},
        "SENT": {"en": "sent", "ru": "отправлено", "ro": "trimis"},
        "NO_CHANNEL": {
            "en": "not sent, no channel configured",
            "ru": "не отправлено: канал не настроен",
            "ro": "netrimis, niciun canal configurat",
        },
        "CONSENT_WITHDRAWN": {
            "en": "not sent, consent withdrawn",
            "ru": "не отправлено: согласие отозвано",
            "ro": "netrimis, consimțământ retras",
        },
        "TOO_LATE": {"en": "not sent, too late", "ru": "не отправлено: слишком поздно", "ro": "netrimis, prea târziu"},
        "REFUSED": {
            "en": "not sent, refused by the mail server",
            "ru": "не отправлено: почтовый сервер отказал",
            "ro": "netrimis, refuzat de serverul de poștă",
        },
        "ERASED": {"en": "erased with its reader's data", "ru": "удалено с данными адресата", "ro": "șters odată cu datele"},
        "code_hidden": {
            "en": "A code that signs somebody in is shown to nobody else.",
            "ru": "Код для входа не показывается никому, кроме адресата.",
            "ro": "Un cod de conectare nu se arată nimănui altcuiva.",
        },
        "words_gone": {
            "en": "The words are gone: the key that they lay under was destroyed.",
            "ru": "Текста больше нет: его ключ уничтожен.",
            "ro": "Textul nu mai există: cheia lui a fost distrusă.",
        },
        "back": {"en": "Back", "ru": "Назад", "ro": "Înapoi"},
    }
)  # fmt: skip


def text(key: str, language: str, **values: str) -> str:
    """A text of the pages with its values put in; English where the language is none of ours."""
    texts = TEXTS[key]
    return texts.get(language, texts["en"]).format(**values)
