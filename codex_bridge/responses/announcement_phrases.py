"""The phrases by which models announce a step, put it off or ask the user, in 13 languages.

`announcements.py` judges by them. They hold few words on purpose: a sentence that fits none of them
is taken as the end of the work, which costs the user a "go on" at most.
"""

# ruff: noqa: RUF001

from __future__ import annotations

import re

from attrs import frozen

REQUEST = re.compile(
    r"\?(?![\w.:=&/])|[？¿]|"
    r"\b(?:please|let me know|(?:tell|send|give|show) me|would you|(?:if|once|when|unless) you|"
    r"you(?:['’]d| would)? (?:want|prefer|like|wish|agree)|proposed_plan|"
    r"your (?:answer|approval|choice|decision|go-ahead|input|permission|preference|reply)|"
    r"I(?:['’]ll| will)? need (?:an?|access|the|your)|"
    r"bitte|bescheid|sag mir|wenn (?:du|sie)|falls|"
    r"s['’]il (?:te|vous) pla[iî]t|(?:dites|dis)-moi|faites-moi|si (?:vous|tu)|"
    r"por favor|dime|d[ií]game|av[ií]s[ae](?:me|-me)|si (?:quieres|usted)|me diga|se quiser|"
    r"per favore|dimmi|fammi sapere|se vuoi|"
    r"alsjeblieft|alstublieft|laat (?:het )?me weten|als (?:je|u)|"
    r"prosz[ęe]|daj znać|powiedz|jeśli|"
    r"пожалуйста|дайте знать|скажи(?:те)?|сообщи(?:те)?|если|"
    r"lütfen|söyle\w*|haber ver\w*)\b|"
    r"请(?!求)|告诉我|如果你|如果您|ください|주세요|시면",
    re.IGNORECASE,
)
"""The user is asked for something: then the model waits."""


@frozen
class Language:
    """How an answer in one language announces a step."""

    steps: re.Pattern[str]
    """The beginning of a sentence: the model speaks of itself, then of work that it does now."""
    puts_off: re.Pattern[str]
    """What makes it a condition, a refusal, a habit or something for later."""


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


def _gerund(verb: str) -> str:
    return "running" if verb == "run" else f"{verb.removesuffix('e')}ing"


VERBS = (
    "adjust|analyse|analyze|apply|build|change|check|clean|collect|compile|correct|create|debug|"
    "delete|edit|examine|execute|explore|fetch|find|fix|gather|generate|grep|implement|inspect|"
    "install|investigate|list|locate|modify|open|patch|print|read|rebuild|refactor|remove|rename|"
    "replace|retry|revert|rewrite|save|search|test|trace|understand|update|verify|view|write"
)
"""Work for which a model calls a tool."""
GERUNDS = "|".join(map(_gerund, f"{VERBS}|continue|look|proceed|run".split("|")))
WORK = "|".join(
    [
        rf"(?:re-?|double[- ])?(?:{VERBS}|set up)",
        r"add(?! that)",
        r"dig|look",
        r"(?:re-?)?run(?!(?: \w+)? (?:by|through))",
        r"(?:get|see)(?= (?:the|an?|where|which|what(?:'s| is))\b)",
        r"try(?: again| running| using|(?= (?:that|this|another|something|an?|the)\b))",
        r"(?:take|have) an? (?:\w+ )?look",
        r"(?:continue|proceed) with(?= the)|go (?:over|through)",
        r"call(?= the)",
        rf"use (?:the )?\S+ (?:\w+ )?to (?:make|run|{VERBS})",
        r"make(?= (?:the|this|that|these|those) (?:\w+ )?(?:change|edit|fix|update))",
        r"(?:do (?:it|so|that|this)|start|get started)\b(?=.* now\b)",
        rf"(?:start|begin|continue) by (?:{GERUNDS})",
    ]
)
LEAD = (
    r"(?:(?:all right|alright|also|again|and|but|first|good|great|hmm|next|next step|now|okay|ok|"
    r"perfect|right|so|sure|well|yes)[,:]? ){0,3}"
    r"(?:(?:as|based on|because|now that|since|to) [^,]{1,150}, |[^:;]{1,200}?\b(?:so|now),? )?"
)
"""What may stand before the subject: a word that begins, or a finding."""
ADVERBS = r"(?: (?:also|first|just|next|now|quickly|go ahead and|proceed to|try to)){0,2}"
OBJECT = (
    r"(?: (?:again|at|for|in|into|through|to|up))* "
    r"(?:all|both|each|it|its|the|them|these|this|whether|if|`\S+|[\w/]+[./_]\w+)"
)
"""Something certain: "I'll write the test" is a step, "I'll write shorter answers" is not."""
AT_ONCE = r"(?=.*\b(?:first|next|now)\b|.*(?:[:…]|\.\.\.)$)"
FINITE = (
    r"(?!.*\b(?:is|are|was|were|will|can|should|has|have|takes?|works?|needs?|makes?|gives?|"
    r"shows?|fails?|passes|returns?)\b)"
)
"""A gerund in front of a verb is its subject, and announces nothing."""
ENGLISH = Language(
    _pattern(
        rf"{LEAD}let me{ADVERBS} (?:{WORK})\b",
        rf"{LEAD}let(?:'s| us){ADVERBS} (?:{WORK})(?:{OBJECT}| that|(?=[.…:]))(?!\w)",
        rf"{LEAD}I(?:'ll| will|(?:'m| am) going to){ADVERBS} (?:{WORK})(?:{OBJECT}| an?)(?!\w)",
        rf"{AT_ONCE}{LEAD}(?:let's|(?:I|we)(?:'ll| will)|I(?:'m| am) (?:now )?(?:about|going) to|"
        rf"(?:first|next|now),? I need to){ADVERBS} (?:{WORK})\b",
        rf"{LEAD}(?:(?:now|time) to|(?:I|we) (?:can|have to|must|need to|should)) (?:{WORK})\b.*:$",
        rf"(?:now (?:I'm |I am )?|(?:I'm|I am) now )(?:{GERUNDS}){OBJECT}\b{FINITE}",
        rf"(?:I'm |I am )?(?:{GERUNDS}){OBJECT}\b{FINITE}.*\bnow[.…:!]*$",
    ),
    _pattern(
        r"\b(?:always|(?<!check )(?<!see )if|once|when|whenever|unless|until|after|upon|as soon|"
        r"before(?! \w+ing)|later|tomorrow|future|follow-up|separate|from now on|every|together|"
        r"(?<!for )you|in (?:a|the) next|"
        r"next (?:time|turn|message|session|day|week|month|release|version))\b",
    ),
)
GERMAN_NOW = "(?:als nächstes|jetzt|nun|zuerst|zunächst)"
GERMAN_FINITE = (
    "(?:aktualisiere|analysiere|behebe|erstelle|führe|korrigiere|lese|öffne|prüfe|schaue|starte|suche|"
    "sehe(?= (?:ich )?mir)|teste|überprüfe|untersuche|ändere)"
)
GERMAN_INFINITIVE = (
    r"\w*(?:aktualisieren|analysieren|anpassen|anschauen|ansehen|ausführen|beheben|erstellen|"
    r"hinzufügen|korrigieren|lesen|öffnen|prüfen|schreiben|starten|suchen|testen|ändern)"
)
GERMAN = Language(
    _pattern(
        rf"(?:{GERMAN_NOW} werde ich|ich werde {GERMAN_NOW}|ich werde (?=.*:$)|"
        rf"ich werde \w+ {GERMAN_NOW}|lass(?:t|en sie)? (?:mich|uns)) .*{GERMAN_INFINITIVE}\b",
        rf"{GERMAN_NOW} {GERMAN_FINITE} ich\b",
        rf"ich {GERMAN_FINITE} (?:mir )?{GERMAN_NOW}\b",
        r"(?:schauen|sehen) wir uns (?:jetzt )?(?:das|den|die)\b",
    ),
    _pattern(
        r"\b(?:nichts?|kein\w*|nie|niemals|wenn|falls|sobald|sofern|bevor|nachdem|später|morgen|"
        r"künftig|zukunft|immer|dann|du|dir|dein\w*|ihnen|ihr\w*)\b",
    ),
)
FRENCH_VERBS = (
    "(?:ajouter|analyser|appliquer|chercher|consulter|corriger|créer|examiner|exécuter|lancer|"
    "lire|mettre à jour|modifier|ouvrir|regarder|vérifier)"
)
FRENCH = Language(
    _pattern(
        r"(?:(?:bien|d'abord|ensuite|maintenant|ok)[,:]? )?"
        r"(?:je vais|laisse-moi|laissez-moi) (?:(?:d'abord|maintenant|donc) )?(?:l[ea]s? |l')?"
        rf"{FRENCH_VERBS}\b",
        r"(?:maintenant, )?(?:examinons|exécutons|lançons|lisons|regardons|vérifions)\b",
    ),
    _pattern(
        r"\b(?:si|quand|lorsque|dès|une fois|ne|pas|jamais|après|plus tard|demain|prochaine?|"
        r"tu|te|toi|vous|votre|ton|ta|tes|ensuite|puis)\b"
    ),
)
SPANISH_VERBS = (
    "(?:abrir|actualizar|analizar|añadir|aplicar|buscar|comprobar|corregir|crear|editar|ejecutar|"
    "examinar|inspeccionar|leer|modificar|probar|revisar|ver (?=el|la|qué)|verificar)"
)
SPANISH = Language(
    _pattern(
        r"(?:(?:ahora|bien|primero)[,:]? )?(?:voy a|vamos a|d[ée]jame|d[ée]jeme|perm[íi]teme) "
        rf"(?:ahora |primero )?{SPANISH_VERBS}(?:l[aeo]s?)?\b",
    ),
    _pattern(
        r"\b(?:si|cuando|una vez|después|luego|mañana|más tarde|próxim[oa]|no|nunca|siempre|tú|"
        r"usted|te|tus?|antes)\b"
    ),
)
PORTUGUESE = Language(
    _pattern(
        r"(?:(?:agora|bem|primeiro)[,:]? )?(?:eu )?(?:vou|vamos|deixe-me|deixa eu|deixe eu) "
        r"(?:agora |primeiro )?(?:abrir|adicionar|alterar|analisar|aplicar|atualizar|buscar|"
        r"corrigir|criar|editar|examinar|executar|inspecionar|ler|modificar|procurar|rodar|testar|"
        r"ver (?=[oa]s? )|verificar)\b",
    ),
    _pattern(
        r"\b(?:se|quando|assim que|depois|amanhã|mais tarde|próxim[oa]|não|nunca|sempre|você|"
        r"seus?|suas?|antes)\b"
    ),
)
ITALIAN = Language(
    _pattern(
        r"(?:adesso|ora)[,:]? (?:analizzo|apro|controllo|correggo|creo|eseguo|leggo|modifico|"
        r"verifico)\b",
        r"(?:(?:adesso|ora)[,:]? )?(?:fammi|lasciami) (?:analizzare|aprire|controllare|"
        r"correggere|eseguire|leggere|vedere|verificare)\b",
    ),
    _pattern(
        r"\b(?:se|quando|appena|dopo|poi|domani|più tardi|prossim[oa]|non|mai|sempre|tu|ti|tuo|"
        r"tua)\b"
    ),
)
DUTCH = Language(
    _pattern(
        r"(?:laat me|laten we|ik ga (?:nu|eerst)|nu ga ik|ik zal nu) .*\b(?:aanpassen|bekijken|"
        r"controleren|corrigeren|lezen|openen|toevoegen|uitvoeren|wijzigen|zoeken)\b",
    ),
    _pattern(
        r"\b(?:als|wanneer|zodra|nadat|daarna|later|morgen|volgende|niet|geen|nooit|altijd|je|"
        r"jij|jouw|uw?)\b"
    ),
)
POLISH = Language(
    _pattern(
        r"(?:teraz|najpierw) (?:dodam|edytuję|naprawię|otworzę|poprawię|przeczytam|sprawdzę|"
        r"uruchomię|utworzę|zaktualizuję|zmienię|zobaczę)\b",
        r"(?:przeczytam|sprawdzę|uruchomię|poprawię)\b.*:$",
    ),
    _pattern(
        r"\b(?:jeśli|jeżeli|gdy|kiedy|potem|później|jutro|następn\w+|nie|nigdy|zawsze|po|ty|"
        r"twoj\w+|pan\w?)\b"
    ),
)
RUSSIAN_VERBS = (
    "(?:внесу|выполню|добавлю|запустим|запущу|изменю|исправлю|найду|обновлю|открою|"
    "посмотрим|посмотрю|проверим|проверю|прочитаю|создам)"
)
RUSSIAN = Language(
    _pattern(
        rf"(?:сейчас|теперь|сначала|давайте|давай)[,:]? (?:я )?(?:сначала )?{RUSSIAN_VERBS}\b",
        rf"я (?:сейчас {RUSSIAN_VERBS}\b|{RUSSIAN_VERBS}\b.*:$)",
    ),
    _pattern(
        r"\b(?:если|когда|как только|после|потом|затем|позже|завтра|следующ\w+|не|никогда|всегда|"
        r"вы|вам|вас|ваш\w*|ты|тебе|тво\w+)\b"
    ),
)
CHINESE_NOW = "(?:现在|接下来|首先|下一步)"
CHINESE = Language(
    _pattern(
        rf"(?:好的?[，,]?)?(?:{CHINESE_NOW}?[，,]?(?:让我们?|我(?:来|现在|先|将))|"
        rf"{CHINESE_NOW}[，,]?我(?:会|要|需要))"
        r"(?:.{0,3}?|(?:使用|通过|用|对).{0,30}?)"
        r"(?:执行|打开|查看|检查|看看|看一下|修复|修改|编辑|读取|运行|测试|创建|添加|更新|搜索|"
        r"查找|分析)",
    ),
    _pattern(
        r"[你您不没再吗已]|(?<!为)了|如果|以后|之后|等|一旦|每次|下次|明天|完成后|总是|可以|总结|"
        r"解释|说明|时候?[，,]|完[，,]"
    ),
)
JAPANESE_WORK = "(?:確認|実行|修正|作成|追加|更新|変更|検索|調査|テスト)"
JAPANESE = Language(
    _pattern(
        rf"(?:では|それでは|これから|今から|さっそく)、?[^はが]*{JAPANESE_WORK}"
        r"(?:します|してみます|しましょう)[。：:]?$",
        r"(?:では|それでは|まず|次に)、?[^はが]*(?:てみます|てみましょう)[。：:]?$",
    ),
    _pattern("たら|れば|なら|場合|とき|後で|あとで|明日|次回|ません|ない|毎回|常に"),
)
KOREAN_WORK = "(?:검색|수정|실행|작성|추가|테스트|확인|변경)"
KOREAN = Language(
    _pattern(
        r"(?:그럼|먼저|이제|지금)[, ].*"
        rf"(?:{KOREAN_WORK}(?:하|해 ?보)|살펴 ?보)겠습니다[.:]*$",
        rf".*(?:{KOREAN_WORK}하겠습니다:|{KOREAN_WORK}해 ?보겠습니다[.:]*)$",
    ),
    _pattern("않|면|나중|내일|다음에|후에|항상|때"),
)
TURKISH = Language(
    _pattern(
        r"(?:şimdi|önce)\b.*\b(?:açıyorum|bakıyorum|çalıştıracağım|çalıştırıyorum|düzelteceğim|"
        r"düzeltiyorum|güncelleyeceğim|inceleyeceğim|inceliyorum|kontrol ed(?:eceğim|iyorum)|"
        r"okuyacağım|okuyorum)[.…:]*$",
    ),
    _pattern(r"\b(?:eğer|sonra|yarın|değil|her zaman|siz\w*|sen\w*)\b|(?:se|sa|sanız|seniz)\b"),
)
LANGUAGES = (
    ENGLISH,
    GERMAN,
    FRENCH,
    SPANISH,
    PORTUGUESE,
    ITALIAN,
    DUTCH,
    POLISH,
    RUSSIAN,
    CHINESE,
    JAPANESE,
    KOREAN,
    TURKISH,
)
