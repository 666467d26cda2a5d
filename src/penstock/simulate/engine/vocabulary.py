"""The words that the simulated engine speaks, and the pieces its tokenizer knows.

Every word belongs to one part of speech, so that generated text reads like sentences. Nothing here is taken from a
real model's vocabulary. The order of the lists is part of the tokenizer: a change of order changes token ids.
"""

from __future__ import annotations

__all__ = ["AFTER", "PIECES", "SPECIALS", "SPELLED", "WORDS", "PartOfSpeech"]

PartOfSpeech = str

SPECIALS: tuple[str, ...] = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|tool_call|>", "<|think|>", "<|/think|>")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WORDS: dict[PartOfSpeech, tuple[str, ...]] = {
    "determiner": _words("the a this each one every that some no another any its our"),
    "adjective": _words("""
        small new good long old quiet steady careful open warm clear simple early late short full free deep high
        low strong bright cold dry fair fast slow fine firm fresh gentle great green hard heavy honest large
        light local main narrow near next plain quick rare ready real rich round safe second sharp smooth soft
        sound stable still sudden tall thin tidy true useful usual vast wide wise young busy calm common daily
        empty entire exact final first former general global hidden hollow idle inner known last lean level
        likely lone loose lucky modest mutual native neat normal outer partial patient perfect polite prime
        proper public pure random recent remote right rough secret shared silent single solid spare special
        spent strict subtle sure sweet swift total upper urgent valid vivid whole wild worn blue red black white
        distant dense dark active
        """),
    "noun": _words("""
        water river engine system model answer question request valley field house letter number people place
        point pressure problem process queue reader record result road room rule school sea season sentence
        service ship shore side signal sky source space speed spring star state station stone storm story stream
        street summer table task team test thing time token tool town trace train tree turbine unit user value
        voice wall watch wave way weather week wheel wind window winter wood word work worker world writer year
        air animal area art autumn bank bell bird block board boat body book box branch bread bridge budget
        building cache camp capacity captain card castle cause center chain chance change channel child choice
        circle city class clock cloud coast code color company copy corner cost country course cup current cycle
        day deal design detail device door doubt dream driver dust earth east edge effect effort end energy
        error evening event example eye face fact family farm father fire fish floor flow force forest form
        friend front fruit future game garden gate gift girl glass gold ground group guide hand harbor head
        heart heat height hill history hole home hope horse hour idea image inch interest island job journey
        judge key king kitchen knowledge lake lamp land language law leader leaf library life limit line list
        load map market matter meal measure meeting memory message metal method mile milk mind minute mirror
        mistake moment money month moon morning mother motion mountain mouth movement music name nation nature
        network night noise north note object ocean office order outcome owner page paper park part path pattern
        peace pencil period person phone picture piece pilot pipe plan plant plate play player pocket poem
        policy pool port power practice price prize product profit program promise purpose quality rain range
        rate reason region report rest return ring risk rock roof root route sail salt sand scale scene science
        score seed sense shadow shape sheet shell shop shoulder sign silence silver sister size skill sleep
        smile snow soil soldier son song sort south spirit sport square stage step stick store string student
        style subject success sugar sun surface surprise symbol talk taste teacher theory thought thread ticket
        title tone tongue tooth top touch tower track trade travel treasure truth type valve view village visit
        volume walk war wealth weight west wing wish wonder yard
        """),
    "verb": _words("""
        is was has gives takes keeps makes finds holds brings leaves shows turns moves runs stands reads writes
        opens closes carries follows meets serves sends waits starts ends grows falls rises needs wants knows
        sees hears tells asks becomes begins believes belongs breaks builds buys calls catches chooses comes
        costs counts covers crosses cuts decides drives drops eats enters explains feeds feels fights fills fits
        fixes flies forgets gathers gets goes guards happens helps hides improves joins jumps learns lets lifts
        lives looks loses loves marks matters measures mends misses offers owns passes pays picks prefers
        prepares presses protects proves pulls pushes puts raises reaches remembers repeats replies rides rolls
        saves says seems sells sets shares shines shuts signs sings sits solves speaks spends spreads stays
        stops studies suggests supports teaches thanks thinks throws travels tries trusts uses visits walks
        warms washes wears weighs wins
        """),
    "adverb": _words("""
        slowly often never always again here there now then soon once twice almost already together perhaps
        quietly clearly carefully usually really quite very rather well away apart today tomorrow yesterday
        forever exactly gently gladly hardly honestly indeed instead later mostly nearly neatly only outside
        patiently plainly quickly rarely safely simply softly sometimes steadily suddenly surely thus too truly
        upward warmly widely wisely
        """),
    "preposition": _words("""
        of in to for with on at from by about into through over after under between against during without
        before behind beside beyond above across along among around below inside past since toward until upon
        within
        """),
    "conjunction": _words("and but or because while when if so although unless where as than"),
}
"""Words by part of speech, each in one only, frequent ones first: a draw prefers the front of a list."""

AFTER: dict[PartOfSpeech, tuple[PartOfSpeech, ...]] = {
    "determiner": ("noun",) * 10 + ("adjective",) * 6,
    "adjective": ("noun",) * 14 + ("conjunction",) + ("adjective",),
    "noun": ("verb",) * 6 + ("preposition",) * 4 + ("stop",) * 3 + ("comma",) + ("conjunction",) * 2,
    "verb": ("determiner",) * 9 + ("preposition",) * 2 + ("adverb",) * 3 + ("adjective", "spelled"),
    "adverb": ("preposition",) * 5 + ("determiner",) * 4 + ("verb",) * 2 + ("stop",) * 4 + ("comma",),
    "preposition": ("determiner",) * 11 + ("noun",) * 3 + ("adjective",) * 2,
    "conjunction": ("determiner",) * 12 + ("adverb",) * 2 + ("noun",) * 2,
    "comma": ("conjunction",) * 9 + ("determiner",) * 5 + ("adverb",) * 2,
    "spelled": ("preposition",) * 6 + ("stop",) * 5 + ("comma",) * 3 + ("conjunction",) * 2,
    "stop": ("opening",) * 14 + ("break", "end"),
    "break": ("opening",) * 16,
    "other": ("determiner",) * 8 + ("noun",) * 4 + ("verb",) * 4,
}
"""What may follow each part of speech, sixteen ways of equal chance. One sentence in sixteen is the last (`end`)."""

SPELLED: tuple[str, ...] = (
    " café", " naïve", " résumé", " Zürich", " São", " jalapeño", " crème", " über", " 🚀", " 🙂", " ✓", " 水", " 世界",
    " Привет", " π", " µs", " €", " →", " 42", " 7", " 128", " 2025", " 3.5", " 👍🏽",
)  # fmt: skip
"""What the tokenizer has no whole token for: written over several tokens, most of them bytes inside a character."""

_SYLLABLES = _words("""
    ing ed er es ly tion ment ness able ful less ous ive ity al ic ist ism ize ate ant ent ance ence age ure ship ward
    th he in an re on at en nd ti or it st io le is ou ar as te nt se ha hi ri ro co ec me ne li ra ce om ll be ma si
    el ch di ur ve ee la ta tr us ge il ca de ho pe ss un ut ac ol ow op ot em ad im ir sh id av ab ag am ap aw ay ba
    bl bo br bu by ci ck cl cr cu da do dr du ea ef eg ei ep et ev ex ey fa fe fi fl fo fr fu ga gi gl go gr gu ia ib ie
    if ig ip jo ju ke ki kn lo lu mi mo mu my na ni no nu ob od of og ok os ov ox pa ph pi pl po pr pu qu ru sa sc sk sl
    sm sn so sp su sw ty ub ud ug ul um up ux va vi vo wa we wh wi wo wr ye yo yst ock ack end est ect eng mod api url
    http https www com org json str int self def return import class print true false null none data type user system
    assistant content role function name id key list dict test file path time error code value text token prompt
    """)

_MARKS = _words("""
    ... -- == != <= >= => -> :: // /* */ && || ++ += -= ** () [] {} )); ); )) ({ }) [{ }] "} {" ": ," ", "," ":" ["
    "] "]} }} {{ '' ", '." ?" !" ), ). ): '( '] `` ``` ### ## :// </ /> '); '));
    """)

_SPACES: tuple[str, ...] = (*(" " * n for n in (2, 3, 4, 7, 8, 12, 15, 16)), "\n\n", "\n\n\n", "\t\t", "\r\n")


def _pieces() -> tuple[str, ...]:
    """Every token of more than one byte, in the order of its id."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    found: dict[str, None] = {}
    for group in WORDS.values():
        for word in group:
            found.update(dict.fromkeys((word, " " + word, word.capitalize(), " " + word.capitalize())))
    for syllable in _SYLLABLES:
        found.update(dict.fromkeys((syllable, " " + syllable)))
    found.update(dict.fromkeys(" " + mark for mark in '"([{<-=+*/&|#$@`~'))
    found.update(dict.fromkeys(" " + letter for letter in letters))
    found.update(dict.fromkeys((*_MARKS, *_SPACES, "'s", "'t", "'re", "'ll", "'ve")))
    found.update(dict.fromkeys(f"{n:02d}" for n in range(100)))
    found.update(dict.fromkeys(f"{n:03d}" for n in range(1000)))
    return tuple(piece for piece in found if len(piece) > 1)


PIECES: tuple[str, ...] = _pieces()
"""Tokens of more than one byte. Single bytes are tokens of their own, before these."""
