"""PURE: what the people read who approve, in the programme's languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.scopes import SCOPES

_TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "en": {
            "signed_in_as": "Signed in as",
            "consent_title": "Allow access?",
            "consent_lead": "{client} wants to act for {partner}. It will be able to:",
            "consent_until": "It keeps this access for up to 90 days, or until it is ended.",
            "consent_returns": "You will be sent back to",
            "the_operator": "the operator",
            "approve": "Allow",
            "deny": "Refuse",
            "device_title": "Enrol a till",
            "device_lead": "Type the code that the till shows.",
            "code": "Code",
            "continue": "Continue",
            "device_check": "Is this the till in front of you?",
            "device_warning": "Allow it only if you started this yourself and the till's own screen shows this code. "
            "Nobody who calls or writes to you needs your approval.",
            "partner": "Partner",
            "outlet": "Outlet",
            "terminal": "Terminal",
            "serial": "Serial number",
            "place": "Network address that it asked from",
            "asked_at": "Asked at",
            "device_scopes": "It will be able to:",
            "device_replaces": "A till that was enrolled as this terminal before will be refused.",
            "device_unknown_place": "The partner has no such outlet with such an active terminal: refuse it.",
            "device_allowed_title": "The till is enrolled",
            "device_allowed": "It may take some seconds until the till notices.",
            "device_denied_title": "Refused",
            "device_denied": "The till gets no access.",
            "code_unknown": "There is no such code, or it is over. Check it on the till's screen.",
            "too_many_title": "Too many wrong codes",
            "too_many": "Wait a while before you try again.",
            "invalid_title": "This link does not work",
            "invalid": "It is incomplete, used or over. Go back to where you came from and begin again.",
            "forbidden_title": "Not yours to decide",
            "forbidden": "Only a manager of this partner, or staff who may add clients, can decide this.",
            "stale_title": "This form is no longer good",
            "stale": "It was sent before, or from another sign-in. Nothing was done. Go back and begin again.",
            "closed_title": "Nobody can sign in here",
            "closed": "Signing in is not set up on this server.",
        },
        "ru": {
            "signed_in_as": "Вы вошли как",
            "consent_title": "Разрешить доступ?",
            "consent_lead": "{client} хочет действовать от имени: {partner}. Приложение сможет:",
            "consent_until": "Доступ действует до 90 дней или пока его не отзовут.",
            "consent_returns": "Вы вернётесь на",
            "the_operator": "оператор",
            "approve": "Разрешить",
            "deny": "Отказать",
            "device_title": "Подключение кассы",
            "device_lead": "Введите код с экрана кассы.",
            "code": "Код",
            "continue": "Продолжить",
            "device_check": "Это касса, у которой вы стоите?",
            "device_warning": "Разрешайте, только если вы сами начали подключение и этот код на экране кассы. "
            "Никому, кто звонит или пишет, ваше разрешение не нужно.",
            "partner": "Партнёр",
            "outlet": "Точка продаж",
            "terminal": "Касса",
            "serial": "Серийный номер",
            "place": "Сетевой адрес, с которого пришёл запрос",
            "asked_at": "Время запроса",
            "device_scopes": "Касса сможет:",
            "device_replaces": "Касса, подключённая на это место раньше, потеряет доступ.",
            "device_unknown_place": "У партнёра нет такой точки с такой действующей кассой: откажите.",
            "device_allowed_title": "Касса подключена",
            "device_allowed": "Касса узнает об этом через несколько секунд.",
            "device_denied_title": "Отказано",
            "device_denied": "Касса не получит доступа.",
            "code_unknown": "Такого кода нет или он истёк. Сверьте его с экраном кассы.",
            "too_many_title": "Слишком много неверных кодов",
            "too_many": "Подождите, прежде чем пробовать снова.",
            "invalid_title": "Ссылка не работает",
            "invalid": "Она неполная, использована или истекла. Вернитесь и начните заново.",
            "forbidden_title": "Решать не вам",
            "forbidden": "Решить может управляющий этого партнёра или сотрудник, который подключает клиентов.",
            "stale_title": "Форма больше не действует",
            "stale": "Она уже отправлена или открыта при другом входе. Ничего не сделано. Вернитесь и начните заново.",
            "closed_title": "Войти здесь нельзя",
            "closed": "Вход на этом сервере не настроен.",
        },
        "ro": {
            "signed_in_as": "Autentificat ca",
            "consent_title": "Permiteți accesul?",
            "consent_lead": "{client} dorește să acționeze pentru {partner}. Va putea:",
            "consent_until": "Accesul rămâne cel mult 90 de zile sau până este retras.",
            "consent_returns": "Veți fi trimis înapoi la",
            "the_operator": "operator",
            "approve": "Permite",
            "deny": "Refuză",
            "device_title": "Înregistrarea unei case",
            "device_lead": "Introduceți codul afișat de casă.",
            "code": "Cod",
            "continue": "Continuă",
            "device_check": "Aceasta este casa din fața dumneavoastră?",
            "device_warning": "Permiteți doar dacă ați început chiar dumneavoastră și ecranul casei arată acest cod. "
            "Nimeni care vă sună sau vă scrie nu are nevoie de aprobarea dumneavoastră.",
            "partner": "Partener",
            "outlet": "Punct de vânzare",
            "terminal": "Casă",
            "serial": "Număr de serie",
            "place": "Adresa de rețea de la care a cerut",
            "asked_at": "Ora cererii",
            "device_scopes": "Va putea:",
            "device_replaces": "Casa înregistrată înainte în acest loc va fi refuzată.",
            "device_unknown_place": "Partenerul nu are un astfel de punct cu o astfel de casă activă: refuzați.",
            "device_allowed_title": "Casa este înregistrată",
            "device_allowed": "Casa va afla în câteva secunde.",
            "device_denied_title": "Refuzat",
            "device_denied": "Casa nu primește acces.",
            "code_unknown": "Nu există un astfel de cod sau a expirat. Verificați ecranul casei.",
            "too_many_title": "Prea multe coduri greșite",
            "too_many": "Așteptați înainte de a încerca din nou.",
            "invalid_title": "Acest link nu funcționează",
            "invalid": "Este incomplet, folosit sau expirat. Întoarceți-vă și începeți din nou.",
            "forbidden_title": "Nu decideți dumneavoastră",
            "forbidden": "Decide un administrator al acestui partener sau personalul care adaugă clienți.",
            "stale_title": "Formularul nu mai este valabil",
            "stale": "A fost trimis deja sau din altă autentificare. Nu s-a făcut nimic. Începeți din nou.",
            "closed_title": "Aici nu se poate intra",
            "closed": "Autentificarea nu este configurată pe acest server.",
        },
    }
)

_SCOPES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ru": {
            "points:accrue": "записывать покупки, за которые начисляются баллы",
            "points:redeem": "списывать баллы участников",
            "points:return": "оформлять возвраты и отмены",
            "members:read": "находить участников и рассчитывать покупки",
            "members:enrol": "регистрировать участников",
            "events:write": "сообщать о событиях, за которые начисляются баллы",
            "events:moderate": "решать о событиях, которые нужно проверить",
            "history:read": "читать свои операции",
            "settlement:read": "читать свои расчётные отчёты",
            "rules:read": "читать акции, которые касаются партнёра",
            "schema:read": "запрашивать схему GraphQL",
        },
        "ro": {
            "points:accrue": "înregistra cumpărături care aduc puncte",
            "points:redeem": "lăsa membrii să folosească puncte",
            "points:return": "prelua retururi și anulări",
            "members:read": "căuta membri și calcula cumpărături",
            "members:enrol": "înscrie membri",
            "events:write": "anunța evenimente care aduc puncte",
            "events:moderate": "decide asupra evenimentelor de verificat",
            "history:read": "citi propriile tranzacții",
            "settlement:read": "citi propriile decontări",
            "rules:read": "citi promoțiile care îl privesc pe partener",
            "schema:read": "cere schema GraphQL",
        },
    }
)


def words(language: str) -> Mapping[str, str]:
    """Every text of the pages in one of the languages."""
    return _TEXTS[language]


def scope_texts(scopes: list[str], language: str) -> list[str]:
    """What each scope allows, for a person; in English where nobody has translated it yet."""
    translated = _SCOPES.get(language, {})
    return [translated.get(scope) or SCOPES.get(scope, scope) for scope in scopes]
