// What people write to the bot, by role and language: alternatives of regular expressions for intent.ts and choice.ts. They
// match text as `normalized` of intent.ts returns it: lower case, without accents and emoji.
//
// A new language is a value of PHRASES. A missing role does not compile.

export interface Phrases {
  /** Whether words are separated by spaces. */
  spaced: boolean
  greeting: string
  thanks: string
  /** Short reactions that need no answer. */
  reaction: string
  /** Short words that what was said is wrong. */
  denial: string
  /** Wants to know how the bot is used. */
  help: string
  /** Asks about the bot itself. */
  who: string
  /** Words around the others that carry nothing: courtesy, addressees, intensifiers. */
  filler: string
  /** What can be described: pictures and words that point at them. */
  picture: string
  /** Asks for a description, when only `picture` and `filler` words follow. */
  describe: string
  /** Names of a description: asks for one, except in a question about it. */
  description: string
  /** Whole questions that a caption answers. */
  look: string
  /** Whole questions for an opinion: a caption is the best answer. */
  opinion: string
  /** "and this one?" */
  another: string
  /** Begins a question. */
  opener: string
  /** Begins a request that is answered like a question. */
  imperative: string
  /** Ends a remark that only looks like a question. */
  tag: string
  /** Makes a question one between people, or about another thing than a picture. */
  elsewhere: string
  /** Makes a question plainly one about a picture. */
  visual: string
  /** From the first to the fifth. */
  ordinals: readonly string[]
  last: string
  both: string
  all: string
  /** Stands for a picture after an ordinal: "the second one". */
  one: string
}

const en: Phrases = {
  spaced: true,
  greeting:
    "hi+|hello+|hallo|hey+|hiya|heya|howdy|yo|greetings|salutations|g'?day|good (morning|afternoon|evening|day)|morning|afternoon|evening|nice to meet (you|u)|pleased to meet (you|u)|(how are|how're|how r) (you|u|ya|things)( doing| today| feeling)*|how do you do|how('s| is) (it going|life|everything|your day)|(what'?s|whats|wass?) ?up|sup|(are )?you (there|around|awake|online|alive)|anyone (there|home)|ping|testing|test",
  thanks:
    "thanks?|thank (you|u|ya)|thank|thx|thnx|tnx|ty|tysm|tyvm|cheers|(much |really |greatly )?appreciated?( it| that| this| the help)?|much obliged|grateful|you('re| are) (great|awesome|the best|amazing|a star|a lifesaver)",
  reaction:
    "ok(ay|ey)?|k|kk|nice( one)?|cool|great|awesome|amazing|wow|wowza|lol|lmao|rofl|(ha)+h?|(he)+h|good (bot|job|one|work|boy|girl)|well done|perfect|excellent|brilliant|fantastic|wonderful|yes|yep|yeah|yup|yay|sure( thing)?|got it|i see|understood|noted|right|correct|exactly|indeed|true|fine|alright|all right|interesting|lovely|beautiful|(i )?(love|like) (it|that|this)|impressive|neat|sweet|oh+|ah+|aw+|hm+|omg|bye( bye)?|goodbye|good ?night|see (you|ya)( later| soon)?|cya|later|congrats|congratulations|cute|funny|well played|spot on|makes sense|never ?mind|nvm|sorry|oops|my bad|no worries|no problem|you('re| are) welcome",
  denial:
    "no|nope|nah|wrong|incorrect|false|(that is |it is )?not (right|true|correct)|(that|this|it)( is|'s) wrong|bad bot",
  help: 'help( me| us)?( out)?|i need (some |your )?help|(can|could|will|would) (you|u|someone) (please )?help( me| us)?( out)?|how (do|can|should|would|does|to) (i|we|you|one|someone|anyone)? ?(use|work with|talk to|ask|operate|interact with) .*|how to use .*|how (do|does) (you|this|it|this bot|the bot|this thing|this app|glimpse) work|what (can|could) (you|u|i|we|this bot|the bot|it|glimpse) (do|ask|help)\\b.*|what (do|does) (you|u|this bot|the bot|glimpse) (even |actually )?do|what are (you|u) (able|capable|good|for|supposed|here)\\b.*|what (are )?(your|the) (commands|features|abilities|capabilities|skills|functions|options)( are)?|(show|list)( me)?( all| your| the)* (commands|features|options|help)|commands?|usage|instructions?|manual|how it works|how this works|getting started|tutorial|guide|explain (yourself|how (you|this|it) works?)|teach me how .*',
  who: "(who|what) (exactly )?(are|r) (you|u)( exactly| really| even)?|who('s| is) (this|that|the) bot|(who|what)('s| is) (this bot|this app|glimpse)|(tell me|tell us)( more| something| a bit)? about (yourself|you|glimpse)|introduce yourself|(what('s| is) )?your name|do you have a name|who (made|built|created|wrote|owns|runs|trained|developed) (you|u|this bot|glimpse)|are (you|u) (really )?(an? )?(real |actual )?(bot|robot|human|ai|person|machine|chatgpt|gpt|llm|real|alive|sentient)( or .*)?|(what|which) (ai |language )?model (are you|is this|do you use|powers you)|about you|what kind of (bot|ai|thing) are you|where (are|do) you (come )?from",
  filler:
    "please|pls|plz|pretty|kindly|bot|glimpse|there|every(one|body)|all|y'?all|both|team|folks|guys|friends?|buddy|pal|mate|man|dude|dear|sir|world|again|so|very|much|a lot|a ton|a bunch|loads|lots|lot|many|million|really|for (that|this|it|your (help|answer|time|reply)|the (help|answer|description|caption|info|reply|quick \\w+)|helping( me| out)?|everything|all( of)? (this|that))|and|oh|well|then|too|my|you|u|it|that|that's|it's|this|is|was|are|the|a|an|just|today|now|to|with|me|us|i|we|i'm|do|some|bit|little|quick|quickly|short|brief|briefly|detailed|good|new|simple|in detail|in (a few|one|two) (words?|sentences?)|of|on|for|from|can|could|would|will|want|need|like|may|get|have|give|make|write|provide|generate|create|add|suggest|produce|draft|compose|send|share|show|tell|your|be|what|what's|any|kind|mind|possible|if|someone|somebody|anyone|somehow|maybe|perhaps|help",
  picture:
    'this|that|it|these|those|them|here|above|below|attached|attachment|uploaded|posted|(the |my |our |his |her |their )?(first |second |third |last |new |next |same |latest |following )?(pictures?|pics?|photos?|photographs?|images?|imgs?|screenshots?|stickers?|emojis?|memes?|drawings?|illustrations?|paintings?|graphics?|artworks?|scenes?|snaps?|shots?|file|one|ones|thing|gif|logo|icon)',
  describe:
    "describe|description of|caption|captioning|summari[sz]e|explain|narrate|alt|alt[- ]?text|depict|interpret|analy[sz]e|read out|(tell|show) (me|us) (about|what (is|'s|you see|you can see|(is|'s) (in|on)))|(let me|let us) know what (is|'s) (in|on)|say what (is|'s|you see) ?(in|on)?|identify|recogni[sz]e",
  description:
    'alt[- ]?(texts?|tags?|attributes?|descriptions?)|alt(ernative|ernate)? texts?|image descriptions?|picture descriptions?|photo descriptions?|descriptions?|descriptive text|captions?|text alternatives?|accessible text|accessibility text|textual description|screen ?reader (text|description)',
  look: "what (do|can|could|did|would) (you|u|we|i|one|people|a blind person) (see|make out|spot|recogni[sz]e|notice|perceive|find)\\b.*|what (do|can) (you|u) (tell|say) (me |us )?about (this|it|that|the|these)\\b.*|what (is|are|'s|was) (being )?(shown|depicted|displayed|visible|pictured|portrayed|illustrated|represented|going on|happening|seen)\\b.*|what('s| is| are| do we have) (in|on|inside) (this|the|that|these|those|my|our|it|here)( (picture|pic|photo|photograph|image|screenshot|sticker|emoji|meme|drawing|one|here|upload|file)s?)?|what (does|do|did) (this|it|that|these|those|the \\w+|my \\w+) (show|depict|portray|display|represent|illustrate|look like|contain)|what (am i|are we) looking at\\b.*|what('s| is) (this|that|the|my)? ?(a )?(picture|pic|photo|image|drawing|sticker|emoji|meme) (of|about|showing)\\b.*|(can|could) (you|u) (see|read|recogni[sz]e|identify|view|open) (this|it|that|the (picture|image|photo|pic))",
  opinion:
    "(what|how) (do|did|would) (you|u|y'?all|you guys|we|people) (all |guys )?(think|say|feel|like|reckon)\\b.*|(any |your )?(thoughts|opinions?|ideas|feedback|comments?|suggestions)( on (this|it|that))?|wdyt|what('s| is| are) your (thoughts?|opinions?|take|view)s?\\b.*|(do|don't) (you|u|we|y'?all) (like|love|agree)\\b.*|how('s| is) (this|that|it)|how about that|how does (this|it|that) look|isn'?t (it|this|that|he|she) .*|aren'?t (they|these|those|we) .*|guess what|know what|remember (this|that|him|her|me|them)|seen (this|that)( before)?|can you believe (it|this|that)|ready|who knew|what about that",
  another:
    '((and|so|or|but|ok|okay|now|then) )*((what|how) about |and )?(this|that|these|those|here|it|the)( one| ones| picture| image| photo| pic| here)?|(and )?(another|next|the next)( one| picture| image| photo)?',
  opener:
    "(what(?! an? )|who|whose|whom|where|when|why|which)( ?'?s| is| are| was| were| does| do| did| has| have| had| can| could| would| will| should| am| [a-z]+)(?!\\w)|how (many|much|big|small|old|tall|long|large|far|wide|high|deep|often|is|are|was|were|do|does|did|can|could|would|should|has|have|come|about|to)|(is|are|was|were|isn'?t|aren'?t|wasn'?t|am) (it|this|that|these|those|there|they|he|she|we|you|i|the|an?|any|some|one|all|both|every\\w*|some\\w+|any\\w+|my|your|his|her|their|its|our|either|most|more|dogs|cats|people)|(do|does|did|don'?t|doesn'?t|didn'?t) (it|this|that|these|those|they|he|she|we|you|i|the|any\\w*|some\\w*|both|all|most|every\\w*|an?|my|your|his|her|their)|(has|have|hasn'?t|haven'?t) (it|this|that|these|those|they|he|she|we|you|the|any\\w+|some\\w+|every\\w*)|(can|could|would|will|should|can'?t|couldn'?t|won'?t|may|might|must) (it|this|that|these|those|they|he|she|we|you|i|the|any\\w*|some\\w+|every\\w*|one|an?)|(the )?(colou?rs?|number|amount|count|shape|size|position|location|name|kind|type|age|gender|mood|style|breed|species|brand|material|weather) of|(background|foreground|hair|eye|main|dominant) colou?rs?",
  imperative:
    'count|name|list|tell (me|us)( more)?|describe|find|guess|identify|compare|estimate|point|explain|classify|determine|locate|translate|transcribe|read|show|choose|pick|specify|state|say|answer|give|check (if|whether)|let (me|us) know (if|how|what|which|where|whether)',
  tag: "right|no|yes|eh|huh|ok(ay)?|innit|amirite|correct|(is|was|does|do|are|has|can|would)n'?t (it|he|she|they|that|this|we|you)|don'?t you( think)?|you know|hm+|true|yeah",
  elsewhere:
    "you|your|yours|yourself|u|ur|y'?all|we|we're|us|our|ours|let'?s|i|i'm|i'll|i've|im|me|my|mine|any(one|body)|some(one|body) (else|here|know|has|have|can|please|want)|every(one|body)|guys|folks|team|who (wants?|did|does|has|knows?|can|will|would|made|took|wrote|sent|posted|drew|said|else|got|wins?|won|is (in|on|up|coming|going|free|out|available|doing|responsible))|when|why|what (time|day|date)|today|tonight|tomorrow|yesterday|tmrw|monday|tuesday|wednesday|thursday|friday|saturday|sunday|weekend|week|month|year|morning|afternoon|evening|o'?clock|\\d+ ?(am|pm)|yet|still|again|already|later|soon|meetings?|lunch|dinner|breakfast|coffee|beers?|party|calls?|standup|deadline|eta|status|(the|your|any) plans?|tickets?|jira|issues?|bugs?|prs?|pull request|merge[ds]?|deploy\\w*|release[ds]?|version|builds?|ci|prod(uction)?|servers?|staging|(the|a|your|any) links?|urls?|docs?|slides?|decks?|passwords?|prices?|costs?|cheap|expensive|worth|buy|sell|sale|budgets?|invoice|client|customers?|boss|office|work(s|ing|ed)?|done|fixed|ready|broken|happened|finished|approved|shipped|over|ok|okay|true|false|serious|legit|for real|possible|allowed|fair|needed|available|free|late|from|think|thought|mean|means|meant|know|knew|remember|agree|believe|sure|want|wants|need|(?<!look )like|love|hate|prefer|going on with|up to|did|(was|were) (it|this|that|he|she|they|the|there|your|these)|would|should|will|shall|could|gonna|wanna|the (point|plan|deal|idea|problem|matter|difference|reason|rush|catch|story|rest|news|address|name of the (file|channel|repo))|isn'?t|aren'?t|don'?t|doesn'?t|didn'?t|won'?t|wouldn'?t|can'?t|couldn'?t|wasn'?t|raining|weather (like|today|forecast)|song|movie|game|score|cool|funny|crazy|awesome|cute|weird|possible|coming|joining|leaving|attending|bringing",
  visual:
    "pictures?|pics?|photos?|photographs?|images?|imgs?|screenshots?|stickers?|emojis?|drawings?|illustrations?|backgrounds?|foregrounds?|left|right|top|bottom|middle|cent(er|re)|corner|above|below|beneath|under|underneath|behind|next to|beside|between|in front|colou?rs?|colou?red|shapes?|bigger|smaller|biggest|smallest|largest|larger|tallest|taller|how many|how big|how tall|number of|animals?|things?|objects?|items?|persons?|people|man|woman|men|women|child(ren)?|kids?|boy|girl|wearing|holding|standing|sitting|looking|facing|smiling|round|square|circles?|squares?|triangles?|rectangles?|count (the|all|how)|letters?|words?|written|alt[- ]?text|captions?|descri\\w+|(what|who) (is|are|'s) (it|this|that|these|those|they|there|he|she)|what (kind|sort|type|breed|species) of|(is|are) (it|this|that|these|those|there|they|he|she|the|any|all|both)|(does|do|has|have) (it|this|that|these|those|they|he|she|the|any|all|both)|where (is|are|'s) (it|the|they|this|that)|which (one|is|are|of|animal|thing)|can (it|this|they|he|she)",
  ordinals: ['first|1st', 'second|2nd', 'third|3rd', 'fourth|4th', 'fifth|5th'],
  last: 'last|latest|final|newest|most recent',
  both: 'both',
  all: 'all( of)?( the| of them)?|every|each( of)?( the)?',
  one: 'ones?',
}

const de: Phrases = {
  spaced: true,
  greeting:
    "hallo+|hallochen|hi|hey|servus|moin( moin)?|gruss (gott|dich|euch)|gruezi|guten (morgen|tag|abend)|morgen|mahlzeit|na|wie geht('?s| es)( dir| ihnen| euch)?( heute| so)?|alles gut|was geht( ab)?|schon(en)? (tag|abend|morgen)|bist du (da|wach|online)",
  thanks:
    'danke(schon)?|dank( dir| ihnen| euch)?|vielen (lieben )?dank|besten dank|herzlichen dank|tausend dank|bedankt|(sehr )?(nett|lieb|freundlich) von dir|ich danke',
  reaction:
    'gut|super|toll|prima|klasse|spitze|schon|hubsch|genau|stimmt|ja|jo|jep|doch|ach so|achso|aha|alles klar|klar|verstanden|wunderbar|perfekt|krass|geil|hammer|tschuss|ciao|bis (bald|spater|dann|morgen)|richtig|interessant|sehr gut|gut gemacht|braver bot|wahnsinn|suss|lustig|witzig|egal|schade|gute nacht|passt|in ordnung|sauber|okidoki|jawohl|gerne?',
  denial: 'nein|ne|nee|falsch|(das )?stimmt (so )?nicht|das ist (falsch|nicht richtig)|schlechter bot',
  help: 'hilfe|hilf (mir|uns)|(ich )?(brauche|brauch|benotige) (deine )?hilfe|(kannst|konntest) du (mir |uns )?(bitte )?helfen|wie (benutze?|verwende|nutze|bediene|benutzt|verwendet|nutzt|bedient|gebrauche) (ich|man|wir) .*|wie (funktionierst du|funktioniert (das|der bot|dieser bot|es|glimpse)|geht (das|es)( hier)?|arbeitest du)|was (kannst|konntest) du( alles)?( so)?( machen| tun)?|was (machst|tust) du( hier)?|was kann (ich|man|der bot|dieser bot|glimpse)( hier| dich| dir)*( fragen| machen| tun)?|(welche |alle )?(befehle|kommandos|funktionen)( gibt es| hast du| kennst du)?|anleitung|bedienung(sanleitung)?|erklar(e)? (mir )?wie .*|wofur bist du( da)?',
  who: '(wer|was) (genau )?bist du( eigentlich| denn| genau)?|wer (ist|seid) (das|ihr|glimpse|dieser bot)|was ist (glimpse|dieser bot|das fur ein bot)|wie heisst du( eigentlich)?|(wie ist |was ist )?dein name|stell dich( bitte| mal| doch)*( kurz)? vor|bist du (wirklich )?(ein|eine) (echter? |richtiger? )?(bot|mensch|ki|maschine|roboter|person|mann|frau|programm)( oder .*)?|bist du (echt|real|menschlich|kunstlich)|wer hat dich .*|(erzahl|sag)( mir| uns)?( etwas| was| mal| mehr)* (uber|von) dir|woher kommst du|welches modell (bist|nutzt|verwendest) du',
  filler:
    'bitte|(ein)?mal|doch|eben|schnell|kurz|bot|leute|alle|alles|zusammen|ihr|lieben|team|freunde|freund|sehr|viel|vielmals|schon|auch|noch|nochmal|wieder|und|du|dir|dich|mir|uns|ich|wir|es|das|dies|dieses|diesen|dieser|diese|dem|den|der|die|ein|eine|einen|einem|einer|fur|von|zu|zum|zur|auf|im|in|an|mit|kannst|konntest|kann|konnte|wurdest|konnen|hatte|brauche|brauch|mochte|will|gern|gerne|hab|habe|haben|ware|gib|gebt|schreib|schreibe|schreiben|erstell|erstelle|erstellen|mach|mache|machen|liefere|formuliere|generiere|erzeuge|verfasse|kurze|kurzer|kurzen|ausfuhrliche|ausfuhrlich|genaue|genau|gute|guten|neue|hier|da|ist|bekommen|deine|deiner|hilfe|antwort|jemand|vielleicht|so|denn|jetzt|was|genauer|detailliert|einfach|heute|ok',
  picture:
    'dies(e[smnr]?)?|das|es|sie|ihn|hier|da|oben|unten|angehangte?|anhang|(mein|unser|dein|das|dem|die|der|den|dieses|diesem|dieser|diese|erste|ersten|zweite|zweiten|letzte|letzten|neue|neuen)?( )?(bild(er|ern|es|s)?|foto(s)?|fotografie|aufnahme|grafik|abbildung|zeichnung|illustration|screenshot|bildschirmfoto|sticker|emoji|meme|gif|datei|motiv|szene)',
  describe:
    'beschreib(e|en|st|t)?|beschriebe|beschrifte|erklar(e|en)?|erlauter(e|n)?|schildere?|untertitle|analysiere|(sag|zeig|erzahl)e?( mir| uns)? (was|von|uber)|erkenne|erkennst du|identifiziere',
  description:
    'alt[- ]?text(e|es|s)?|alternativ[- ]?text(e|es|s)?|alternativen? text|bild[- ]?beschreibung(en)?|beschreibung(en)?|bild[- ]?unterschrift(en)?|bild[- ]?text(e)?|caption|beschriftung|bildtitel|text fur (blinde|screenreader)',
  look: 'was (siehst|erkennst|findest) (du|ihr)\\b.*|was sieht man\\b.*|was (kann|konnte) (man|ich|ihr) .*(sehen|erkennen)|was kannst du .*(sehen|erkennen)|was (ist|sind|war) .*(zu sehen|zu erkennen|abgebildet|dargestellt|gezeigt|los)( .*)?|was (ist|sind|gibt es|steht|befindet sich) (hier |da |alles )*(drauf|drin|darauf|zu sehen|(auf|in|im) (dem|diesem|meinem|den|diesen|der)? ?(bild|foto|screenshot|sticker|aufnahme|zeichnung|emoji|grafik)\\w*)( .*)?|was (zeigt|stellt|enthalt) (das|dies\\w*|mein|der|die|es)( \\w+)?( dar)?|was (passiert|geschieht)( hier| da| (auf|in) .*)?|was (ist|sind|soll) (das|dies|es)( hier| da| denn| eigentlich| bitte| sein| darstellen)*|worum geht es( hier| da)?|was haben wir( hier| da)|(siehst|erkennst) du (das|es)',
  opinion:
    '(was|wie) (denk(st|t)|halt(st|et)|mein(st|t)|sag(st|t)|find(est|et)) (du|ihr)\\b.*|(meinungen?|gedanken|ideen|vorschlage|feedback)( dazu)?|wie (gefallt|findest|findet) .*|gefallt .*|(ist|sind) (das|die|der|er|sie|es) nicht .*|wer hatte das gedacht|weisst du noch|kennst du (das|den|die)|was sagt ihr',
  another:
    '((und|oder|aber|ok|jetzt|nun) )*((was ist|wie ist es|wie sieht es|wie stehts|wie steht es) mit )?(dies\\w*|das|dem|hier|der|die|den)( hier| da| bild| foto)*|und (jetzt|nun)|(und )?(noch (ein|eins|eines|einmal)|das nachste)( bild| foto)?',
  opener:
    '(was|wer|wen|wem|wessen|wo|wohin|woher|wann|warum|weshalb|wieso|wozu|womit|worauf|wofur|woran|welche[rsmn]?|wieviele?)|wie (viele?n?|heisst|gross|klein|alt|ist|sind|sieht|sehen|lautet|hoch|lang|breit|weit|kommt|nennt|schwer|oft|spat|wird|werden)|(auf|in|an|mit|von|aus|zu|unter|neben|vor|hinter|uber|bei) (was|wem|welche[rsmn]?|wie vielen)|(ist|sind|war|waren|hat|haben|gibt|steht|stehen|sitzt|sitzen|liegt|liegen|tragt|tragen|siehst|sieht|seht|kann|konnen|kannst|zeigt|scheint|befindet|passt|ahnelt|enthalt) (es|das|dies\\w*|der|die|den|dem|da|hier|du|man|ein\\w*|sie|er|jemand|etwas|irgend\\w*|auf|im|in|mehr|dort|sich|alle)|(die )?(farbe|anzahl|zahl|form|grosse|position|name|art) (des|der|von|vom)',
  imperative:
    'zahle?|zahl mal|nenne?|sage?( mir| uns)?|erzahle?( mir| uns)?|finde|liste|errate|rate( mal)?|vergleiche?|schatze?|identifiziere|bestimme?|beschreib(e|t)?|erklare?|zeige?( mir| uns)?|ubersetze?|lies|uberprufe?|gib( mir)?',
  tag: 'oder|ne|nicht( wahr)?|gell|wa|stimmts?|richtig|was|ja',
  elsewhere:
    '\\w+st du|du \\w+st|dein\\w*|dir|dich|ihr|euch|euer\\w*|eure\\w*|wir|uns|unser\\w*|ich|mir|mich|mein\\w*|jemand|wann|warum|wieso|weshalb|heute|morgen|gestern|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|woche|wochenende|monat|jahr|uhr|noch|schon|wieder|meeting|besprechung|termin|mittag\\w*|essen|kaffee|feierabend|ticket|release|deploy\\w*|server|link|version|status|fertig|kaputt|erledigt|passiert|los mit|von (gestern|heute|dir|euch)|hat das (schon|jemand|wer|noch|mal)|wer (hat|will|kommt|macht|kann|weiss|war|mochte)|war|waren|wurde\\w*|soll\\w*|denk\\w*|glaub\\w*|mein(st|t)|weiss\\w*|preis|kostet|kaufen|ernst|wahr|moglich|okay|ok',
  visual:
    'bild(er|ern|es)?|fotos?|screenshots?|stickers?|emojis?|zeichnung|(hinter|vorder)grund|links|rechts|oben|unten|mitte|ecke|uber|unter|hinter|neben|zwischen|vor|farben?|farbig|formen?|grosser|kleiner|grosste\\w*|kleinste\\w*|wie viele?|wieviele?|anzahl|tiere?|dinge?|gegenstande?|objekte?|personen?|menschen?|leute|mann|frau|kind(er)?|tragt|halt|sitzt|steht|liegt|rund|kreise?|quadrate?|dreiecke?|zahle? (die|alle|mal)|buchstaben?|worte?r?|alt[- ]?text|beschreib\\w*|was (ist|sind) (das|es|dies\\w*|da|hier|auf|der|die)|(ist|sind|gibt) (es|das|da|dies\\w*|der|die|ein\\w*|hier)|welche\\w*|wo (ist|sind|steht|liegt|sitzt)',
  ordinals: ['erste[nsmr]?', 'zweite[nsmr]?', 'dritte[nsmr]?', 'vierte[nsmr]?', 'funfte[nsmr]?'],
  last: 'letzte[nsmr]?|neueste[nsmr]?|neuste[nsmr]?|jungste[nsmr]?',
  both: 'beide[nsmr]?',
  all: 'alle[nsmr]?|jede[nsmr]?|samtliche[nsmr]?',
  one: 'davon|eins|eines',
}

const es: Phrases = {
  spaced: true,
  greeting:
    'hola+|holi|buen(os|as)? (dias?|tardes?|noches?)|buenas|saludos|que (tal|onda|hubo|pasa)|como (estas|esta|estais|estan|andas|va( todo)?|te va)( hoy)?|que haces|encantad[oa]|mucho gusto|estas ahi',
  thanks:
    'gracias|muchas gracias|mil gracias|muchisimas gracias|te lo agradezco|agradecid[oa]|te agradezco|agradezco( mucho)?( la ayuda)?',
  reaction:
    'vale|genial|perfecto|si|bien|bueno|buena|guay|(ja)+j?|(je)+|excelente|estupendo|de acuerdo|claro|entendido|comprendido|adios|hasta (luego|pronto|manana|la vista)|chao|que (bien|bonit[oa]|lind[oa]|guap[oa]|chul[oa]|mon[oa]|gracios[oa]|divertido|risa|bueno)|correcto|exacto|muy bien|bien hecho|buen (bot|trabajo)|maravilloso|increible|fantastico|interesante|mola|bonit[oa]|precios[oa]|lind[oa]|listo|ya veo|ya|okey|cierto|verdad|dale|bravo|buenas noches',
  denial:
    'no|incorrecto|falso|(eso )?(no es (correcto|cierto|verdad)|es (falso|incorrecto)|esta mal)|te equivocas',
  help: 'ayuda(me|nos)?|(necesito|quiero) (tu )?ayuda|(me )?(puedes|podrias|puede) ayudar(me|nos)?|como (te|lo|se|la) (uso|usa|utilizo|utiliza|manejo|maneja|funciona)\\b.*|como (funciona(s)?|puedo (usar|utilizar)\\w*|debo (usar|utilizar)\\w*|usar\\w*|utilizar\\w*)\\b.*|(que|cuales?) (cosas )?(puedes|sabes|podrias|puede|sabe) (tu )?(hacer|responder|decir)\\b.*|que (haces|hace este bot|hace el bot)|que puedo (hacer|preguntar\\w*|pedir\\w*)\\b.*|para que (sirves|sirve esto|sirve este bot)|(cuales son )?(tus |los )?(comandos|funciones|instrucciones|opciones)|manual|socorro|auxilio|guia|tutorial',
  who: '(quien|que) (eres|es usted|sos)( tu| exactamente| en realidad)?|(quien|que) es (glimpse|este bot|ese bot)|como te llamas|(cual es )?tu nombre|como se llama (este|el) bot|presentate|eres (de verdad )?(un|una) (bot|robot|human[oa]|ia|maquina|persona|programa|inteligencia artificial)( o .*)?|eres (real|human[oa]|de verdad)|quien te (hizo|creo|ha hecho|programo|desarrollo)|(hablame|cuentame|dime)( algo| mas)? (de|sobre) ti|de donde (eres|vienes)|que modelo (eres|usas)',
  filler:
    'por favor|porfa(vor)?|porfis|bot|a|todos|todas|tod[oa]s|equipo|amig[oa]s?|chic[oa]s|gente|mucho|muchas|muy|de nuevo|otra vez|tambien|y|tu|te|me|nos|se|lo|la|le|los|las|el|un|una|unos|unas|de|del|en|para|con|por|que|esto|esta|este|eso|esa|ese|es|puedes|podrias|puede|quiero|quisiera|querria|necesito|dame|danos|haz|hazme|hacer|escribe|escribeme|escribir|genera|generame|generar|crea|crear|pon|ponle|ponme|redacta|da|dar|anade|sugiere|breve|corta|corto|buen|buena|detallad[oa]|nuev[oa]|aqui|ahi|solo|rapid[oa]|ahora|hoy|tu ayuda|la ayuda|ayuda|respuesta|alguien|quizas|bien|favor|mi|mis|su|algun|alguna|detalle|pequena',
  picture:
    'est[aeo]s?|es[aeo]s?|aquello|aqui|ahi|arriba|abajo|adjunt[oa]|(la |el |las |los |mi |mis |una |esta |este |esa |ese |primera |segunda |ultima |nueva )*(imagen(es)?|fotos?|fotografias?|foto|dibujos?|captura( de pantalla)?|ilustracion|pegatinas?|stickers?|emojis?|memes?|graficos?|archivo|escena|pantallazo|gif)',
  describe:
    'descri(be|ba|bes|bir|bid|beme|benos|belo|bela|belos|belas|bemelo|bemela|birme|birla|birlo)|explica(me|r|la|lo)?|analiza(r|me|la|lo)?|interpreta(r)?|resume|resumir|(dime|cuentame|di|muestrame|ensename) (que|lo que|sobre|acerca)|cuentame|identifica(r)?|reconoce(r)?|subtitula(r)?|titula',
  description:
    'textos? alternativos?|text[oa]s? alt|alt[- ]?text(o)?s?|descripcion(es)?|pies? de (foto|imagen)|leyendas?|subtitulos?|atributo alt|texto descriptivo',
  look: 'que (es lo que )?(ves|se ve|vemos|veis|ve|puedes ver|se puede ver|puede verse|observas|se observa|distingues|reconoces|aparece|aparecen|muestra|muestran|sale|salen|representa|contiene|se muestra|hay|tenemos|esta pasando|pasa|ocurre|sucede|esta ocurriendo|figura)( (en|aqui|ahi|ahi|esta|este|la|el|de)\\b.*)?|que (hay|tiene|sale) (en|dentro de) (est[ae]|la|el|mi|es[ae]) (imagen|foto|captura|dibujo|sticker|emoji|pegatina)\\w*|(que|cual) (es|son|seria) (est[aeo]s?|es[aeo]s?|aquello|lo que .*)|de que (es|trata|va) (est[aeo]|la|el|es[aeo])( .*)?|que (imagen|foto|dibujo) es( est[aeo])?|a que se parece( .*)?|(puedes|pudes) ver (est[aeo]|la imagen|la foto)',
  opinion:
    'que (te|os|les|le) (parece|parecio|gusta)\\b.*|que (opinas|piensas|crees|decis|dices|opinais|pensais|opinan|piensan)\\b.*|(alguna )?(opinion(es)?|ideas?|comentarios?|sugerencias?)|(te|os|les) (gusta|mola|encanta)\\b.*|como (lo|la) (ves|veis)|(a que|verdad que) .*|no (es|son|esta) .*|quien lo diria|adivina que',
  another:
    '((y|o|pero|ahora|vale) )*(que tal |que hay de |que pasa con )?(est[aeo]s?|es[aeo]s?|aqui|aquel\\w*|la|el)( otr[oa]| imagen| foto| de aqui)*|(y )?(otr[oa]|la siguiente|el siguiente)( mas| imagen| foto)*',
  opener:
    '(quien|quienes|cual|cuales|donde|cuando|cuant[oa]s?|por que|adonde)|que (hay|es|son|ves|se|color(es)?|animal(es)?|tipo|clase|esta|estan|hace|hacen|tiene|tienen|significa|pone|dice|muestra|cosas?|objetos?|numero|forma|aparece|lleva|llevan|pasa|raza|marca|comida|edad|ropa|figuras?)|como (es|son|se|esta|estan)|(de|en|a|con|por|sobre|desde|hacia) (que|quien|cual|cuant[oa]s?|donde)|(el |la )?(color|numero|cantidad|forma|tamano|posicion|nombre|tipo) (de|del)|hay (algun|alguna|alguien|algo|mas)\\w*',
  imperative:
    'cuenta(me|los|las)?|nombra|enumera|di(me|nos)?|encuentra|compara|adivina|lista|senala|estima|determina|describe|identifica|indica(me)?|explica(me)?|traduce|lee|localiza|busca|elige|dame',
  tag: 'verdad|no|si|eh|cierto|a que si|vale|no crees|no te parece',
  elsewhere:
    'tu|tus|tuy[oa]s?|ti|te|os|vosotr[oa]s|vuestr[oa]s?|usted(es)?|nosotr[oa]s|nuestr[oa]s?|nos|yo|me|mi|mis|mi[oa]s?|alguien|cuando|por que|hoy|manana|ayer|lunes|martes|miercoles|jueves|viernes|sabado|domingo|semana|mes|ano|hora|reunion|comida|almuerzo|cena|cafe|cerveza|enlace|version|servidor|ticket|listo|terminado|roto|funciona|quien (quiere|viene|ha|hizo|puede|sabe|va|tiene|fue|tomo)|quieres|puedes|sabes|crees|piensas|opinas|vas|vienes|vamos|vais|era|fue|fueron|estaba|precio|cuesta|comprar|todavia|aun|ya|verdad|en serio|vale la pena|opinion',
  visual:
    'imagen(es)?|fotos?|fotografias?|capturas?|dibujos?|stickers?|emojis?|fondo|izquierda|derecha|arriba|abajo|centro|medio|esquina|encima|debajo|detras|delante|junto a|al lado|entre|color(es)?|formas?|mas grande|mas pequen[oa]|mayor|menor|cuant[oa]s|numero de|animal(es)?|cosas?|objetos?|personas?|hombres?|mujer(es)?|nin[oa]s?|lleva|sostiene|sentad[oa]|redond[oa]|circulos?|cuadrad[oa]s?|triangulos?|cuenta (los|las)|letras?|palabras?|texto alternativo|describ\\w*|descripcion|que (es|son|hay)|hay|(es|son|esta|estan) (est[aeo]s?|es[aeo]s?|un|una|el|la|los|las)|donde (esta|estan)|cual (es|de)|de que',
  ordinals: [
    'primer[oa]?|1[ao]',
    'segund[oa]|2[ao]',
    'tercer[oa]?|3[ao]',
    'cuart[oa]|4[ao]',
    'quint[oa]|5[ao]',
  ],
  last: 'ultim[oa]|mas reciente|mas nuev[oa]',
  both: 'ambas|ambos|(l[ao]s )?dos',
  all: 'todas|todos|cada( una)?',
  one: 'de ellas',
}

const fr: Phrases = {
  spaced: true,
  greeting:
    "bonjour|bonsoir|salut|coucou|allo|hello|bonne (journee|soiree)|(comment )?(ca va|tu vas|vas[- ]tu|allez[- ]vous|vous allez)( bien)?( aujourd'hui)?|quoi de neuf|enchante(e)?|bien le bonjour|tu es la|yo|wesh",
  thanks:
    "merci+|mercis|mille mercis|un grand merci|je (te|vous) remercie|remercie(ments)?|merci (a|pour) .*|c'est (gentil|sympa|tres gentil)|trop (gentil|sympa)",
  reaction:
    "d'accord|ok|super|genial|parfait|oui|ouais|bien( joue| vu| sur)?|bravo|mdr|ptdr|top|excellent|magnifique|joli(e)?|beau|belle|trop (bien|beau|mignon|drole|cool|chou)|mignon(ne)?|au revoir|a (bientot|plus|demain|tout a l'heure)|c'est (bon|vrai|beau|joli|mignon|drole|exact|parfait|super|genial|top)|exact(ement)?|compris|chouette|formidable|incroyable|interessant|tres bien|pas mal|ah( bon)?|ben|bon(ne)?|bon (bot|travail|boulot)|sympa|nickel|impeccable|je vois|tant pis|dommage|bonne nuit|entendu|carrement|voila|ca marche",
  denial: "non|faux|incorrect|c'est (faux|incorrect)|ce n'est pas (vrai|exact|correct)|mauvais bot",
  help: "(a l')?aide|aide(z)?[- ]?(moi|nous)|au secours|(j'ai )?besoin d'(aide|un coup de main)|(peux|pouvez|pourrais|pourriez)[- ](tu|vous) (m'|nous )?aider|tu peux (m'|nous )aider|comment (ca|cela|tu|vous|il|elle|le bot|ce bot|glimpse) (marche|fonctionne|fonctionnes|fonctionnez|marches)\\b.*|comment (on )?(t'|l'|s'|vous )?(utilise|utiliser|utilises|servir|marche|fonctionne|fonctionnes)\\b.*|comment (je|puis[- ]je|dois[- ]je|faut[- ]il|faire pour|fait[- ]on pour) .*(utilise|servir|demander|parler)\\w*\\b.*|(que|qu'est[- ]ce que) (sais|peux|pouvez|savez|tu sais|tu peux|vous pouvez|fais|tu fais)([- ](tu|vous))? ?(faire)?\\b.*|tu (sais|peux) faire quoi|tu fais quoi|a quoi (tu sers|sers[- ]tu|ca sert|servez[- ]vous)|mode d'emploi|(quelles sont )?(tes |les |liste des )?(commandes|fonctions|options|instructions)|tutoriel|guide",
  who: "qui (es[- ]tu|etes[- ]vous|t'es|tu es)( donc| exactement| vraiment)?|(tu es|t'es|vous etes) qui|(qui|c'est quoi|qu'est[- ]ce que) (est )?(glimpse|ce bot|c'est que ce bot|c'est ce bot)|qui est (ce bot|glimpse)|comment (tu t'appelles|t'appelles[- ]tu|vous appelez[- ]vous)|tu t'appelles comment|(quel est )?(ton|votre) nom|presente(z)?[- ](toi|vous)|(es[- ]tu|tu es|t'es|etes[- ]vous) (vraiment )?(un |une )?(vrai(e)? )?(bot|robot|humain(e)?|ia|machine|personne|programme|intelligence artificielle|reel(le)?)( ou .*)?|qui t'a (fait|cree|programme|construit|concu|developpe)|parle(s)?([- ](moi|nous))? de toi|dis[- ](m'en|moi)( plus)? sur toi|d'ou viens[- ]tu|quel modele (es[- ]tu|utilises[- ]tu)",
  filler:
    "s'il (te|vous) plait|svp|stp|s'il|te|plait|bot|a|tous|toutes|tout|le monde|l'equipe|equipe|les amis|amis|les gars|beaucoup|bien|infiniment|encore|et|toi|tu|vous|moi|nous|je|on|me|m'|ca|cela|c'est|c'|ce|cet|cette|ces|le|la|les|l'|un|une|des|du|de|d'|pour|en|sur|avec|par|qui|que|qu'|est|peux|peut|pouvez|pourrais|pourriez|voudrais|veux|aimerais|aurais|ai|j'ai|j'|besoin|donne|donner|donnez|fais|faire|faites|ecris|ecrire|ecrivez|redige|rediger|genere|generer|cree|creer|propose|mets|ajoute|ajouter|fournis|petite?|courte?|breve|bonne?|detaillee?|nouvelle?|ici|la|juste|vite|rapidement|maintenant|aujourd'hui|ton aide|votre aide|aide|reponse|tres|quelqu'un|peut[- ]etre|il|faut|faudrait|mon|ma|ton|ta|votre|notre",
  picture:
    "ca|cela|ceci|celle[- ]ci|celui[- ]ci|ici|ci[- ](dessus|dessous|joint(e)?)|jointe?|la|le|les|(l'|la |le |les |cette |cet |ce |ces |mon |ma |mes |notre |d'|une |un |premiere |deuxieme |derniere |nouvelle )*(images?|photos?|photographies?|dessins?|captures?( d'ecran)?|illustrations?|autocollants?|stickers?|emojis?|memes?|graphiques?|fichier|scene|cliche|gif)",
  describe:
    "decri(s|t|re|vez|vons|ve)([- ](moi|nous|la|le|les|cette|ca))*|me decrire|explique(r|z)?([- ](moi|nous))?|analyse(r|z)?|interprete(r|z)?|resume(r|z)?|legende(r|z)?|(dis|dites|raconte|montre)[- ]?(moi|nous)? (ce (que|qu')|ce qui)|identifie(r|z)?|reconnais|commente(r|z)?|decrypte",
  description:
    'textes? alternatifs?|textes? alt|alt[- ]?textes?|balises? alt|attributs? alt|descriptions?|descriptif|legendes?|texte de remplacement|sous[- ]titres?',
  look: "(que|qu'|qu'est[- ]ce que|qu'est[- ]ce qu'|qu'est[- ]ce qui|quoi) ?(on |tu |vous |nous |l'on )?(vois|voit|voyez|voyons|peut voir|peux voir|pouvez voir|aperçoit|apercois|reconnais|distingue|distingues|remarques|montre|represente|contient|affiche|passe|se passe|se passe[- ]t[- ]il|apparait|figure)([- ](tu|vous|on|t[- ]on|t[- ]il|t[- ]elle|nous))?( .*)?|(qu'est[- ]ce qu'il y a|qu'y a[- ]t[- ]il|il y a quoi|y a quoi)( (sur|dans|ici|la)\\b.*)?|(tu|on|vous) (vois|voit|voyez) quoi( .*)?|qu'est[- ]ce (que (c'est|ca|cela|cette .*|ce .*|c'est que ca)|qui se passe.*|qu'on voit.*)|c'est quoi( ca| cette image| cette photo| ce dessin| sur .*)?|quel(le)? (est|sont) (cette|ces|ce|l'|la) ?(image|photo|chose|dessin|objet)s?|de quoi (s'agit[- ]il|ca parle|il s'agit)|(ca|cela|l'image|cette image|la photo|cette photo) (represente|montre) quoi|a quoi (ca|cela|cette image) ressemble",
  opinion:
    "(qu'en|que|qu'est[- ]ce que|vous|tu|t'|on) ?(en )?(penses?|pensez|pense|tu en penses|vous en pensez|dis|dites|dit)([- ](tu|vous|on))?( de .*| quoi| en .*)?|(un|des|vos|ton|une)? ?(avis|opinions?|idees?|commentaires?|suggestions?)|(ca|elle|il) (te|vous) plait|vous aimez\\b.*|tu aimes\\b.*|(n'est[- ](ce|il|elle)) pas .*|c'est pas .*|devine(z)? quoi|qui l'aurait cru",
  another:
    "((et|ou|mais|bon|maintenant) )*(pour |que dis[- ]tu de |qu'en est[- ]il de )?(celle|celui|ceux|celles|ca|cela|cette|ce|ici|la|le|les|l')([- ]?(ci|la|image|photo|dessin))*|(et )?(une autre|un autre|la suivante|le suivant|encore une)( image| photo)?",
  opener:
    "(qui|quoi|quand|pourquoi|combien|lequel|laquelle|lesquels|lesquelles)|comment (est|sont|s'appelle|se|appelle|fait|c'est)|quel(le)?s? (est|sont|couleurs?|animal|animaux|type|genre|nombre|sorte|objets?|forme|race|marque|age|taille|heure|temps|mot|mots|\\w+ (est|sont|a|y|on|se|voit|vois))|(de|a|dans|sur|avec|en|pour|par) (quel(le)?s?|quoi|qui|combien)|ou (est|sont|se|y|puis|peut)|est[- ]ce (que|qu'|qui|un|une|la|le)?|qu'(est|y|a|ont)|que (fait|font|porte|portent|tient|tiennent|signifie|dit|veut|voit)|(y )?(a|est|sont|ont|peut|peux|vois|voit|fait|semble|porte)[- ](t[- ])?(il|elle|ils|elles|on|tu|vous|ce)|il y a combien|(la |le )?(couleur|nombre|forme|taille|position|nom|type) (de|du|des|d')",
  imperative:
    'compte(z|r)?|nomme(z|r)?|dis[- ](moi|nous)|dites[- ](moi|nous)|trouve(z|r)?|liste(z|r)?|compare(z|r)?|indique(z|r)?|devine(z|r)?|identifie(z|r)?|estime(z|r)?|decri(s|vez)|explique(z)?|traduis|lis|montre(z)?|cite(z|r)?|enumere(z|r)?|localise(z|r)?',
  tag: "non|hein|n'est[- ]ce pas|pas vrai|oui|si|d'accord|pas",
  elsewhere:
    "tu|te|t'\\w+|toi|ton|ta|tes|tien(ne)?s?|vous|votre|vos|votres?|nous|notre|nos|je|j'\\w+|me|m'\\w+|moi|mon|ma|mes|mien(ne)?s?|quelqu'un|quand|pourquoi|aujourd'hui|demain|d'hier|hier (soir|matin)|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|semaine|mois|annee|heures?|reunion|dejeuner|diner|cafe|biere|lien|version|serveur|ticket|pret|fini|casse|marche|fonctionne|qui (veut|vient|a|fait|peut|sait|va|etait)|veux|peux|sais|crois|penses?|pensez|avis|viens|allons|etait|etaient|fut|prix|coute|acheter|encore|deja|toujours|serieux|vrai|possible|on (y va|mange|fait|peut|va|se)",
  visual:
    "images?|photos?|photographies?|captures?|dessins?|stickers?|emojis?|(arriere|premier)[- ]plan|fond|gauche|droite|haut|bas|milieu|centre|coin|au[- ]dessus|au[- ]dessous|dessous|derriere|devant|a cote|entre|couleurs?|formes?|plus (grand|petit|gros)(e)?s?|combien|nombre de|animal|animaux|choses?|objets?|personnes?|hommes?|femmes?|enfants?|porte|tient|assise?|debout|rond(e)?s?|cercles?|carres?|triangles?|compte(z)? (les|tous)|lettres?|mots?|texte alternatif|decri\\w*|description|(qu'est[- ]ce|c'est quoi)|(est|sont)[- ](ce|il|elle|ils|elles)|y a[- ]t[- ]il|il y a|ou (est|sont|se)|quel(le)?s? (est|sont|animal|couleur|objet)|lequel|laquelle",
  ordinals: [
    'premi(er|ere)s?|1(er|ere|re)',
    'deuxiemes?|seconde?s?|2(e|eme|nde?)',
    'troisiemes?|3(e|eme)',
    'quatriemes?|4(e|eme)',
    'cinquiemes?|5(e|eme)',
  ],
  last: 'derni(er|ere)s?|plus recente?|plus nouvelle',
  both: '(toutes )?les deux|(tous )?les deux|deux',
  all: 'toutes( les)?|tous( les)?|chaque|chacune?',
  one: "d'entre elles",
}

const ja: Phrases = {
  spaced: false,
  greeting:
    'こんにち[はわ]|こんばん[はわ]|おはよう(ございます)?|やあ|やっほー?|はじめまして|初めまして|よろしく(お願いします|おねがいします)?|もしもし|ハロー|ごきげんよう|お疲れ(様|さま)?(です|でした)?|お元気(ですか)?|元気(ですか)?|ども|どうも(?!ありがと)|調子は?どう(ですか)?|いますか',
  thanks:
    '(どうも|本当に|ほんとに|大変|誠に)?(ありがと[うー]*|有難う|有り難う)(ございます|ございました|ござい|ね)?|サンキュー?|感謝(します|です)?|助かり(ます|ました)|助かった|恐れ入ります|あざす|あざっす',
  reaction:
    'いいね|いいですね|すごい(です)?ね?|凄い|すばらしい|素晴らしい(です)?ね?|かわいい|可愛い|きれい|綺麗|なるほど|了解(です|しました)?|わかりました|分かりました|はい|うん|ええ|オッケー|オーケー|そうですね|そうだね|そうか|笑+|ｗ+|w+|草|最高(です)?|やった|おお+|へえ+|ふーん|面白い(です)?ね?|おもしろい|お見事|正解|さようなら|またね|バイバイ|おやすみ(なさい)?|ごめん(なさい)?|すみません|おめでとう(ございます)?|完璧(です)?|確かに|いい(子|bot|ボット)',
  denial:
    'いいえ|ちがう|ちがいます|違う(よ|ね|でしょ)?|違います(よ|ね)?|間違い(です)?|間違って(る|います)|間違え(てる|ています)?|不正解(です)?',
  help: 'ヘルプ|助けて(ください)?|手伝って(ください|くれますか|もらえますか)?|手助け|使い方(を|は|が|教えて|わからない|分からない|知りたい|何|ですか|ください|？)*.*|使用方法.*|操作方法.*|(あなた|君|きみ|この?ボット|bot|glimpse)?(は|に|って|には)?(何|なに)が?(でき(る|ます|るの|るんです)|出来(る|ます))(か|の)*|(何|なに)を(して)?(くれ(る|ます)|でき(る|ます)|する)(か|の|んですか|のですか)*|どう(やって)?(使|つか)(う|え|い).*|コマンド(一覧)?.*|説明書|マニュアル|機能(一覧|は|を教えて).*|できること.*',
  who: '(あなた|君|きみ|お前|おまえ|この?ボット|このbot|貴方|キミ|glimpse)(は|って)?(一体|いったい)?(誰|だれ|何|なに|なん|何者|どなた|どちら様)(です|なの|なん)?(か|の|です|ですか)*|(誰|だれ|何者|どなた|どちら様)(です|なの)?(か|の|ですか)*|自己紹介.*|(お|あなたの|君の)?名前(は|を)?(何|なん|教えて|なに)?(です|ください|という)?(か|の|ですか)*|(あなた|君|きみ)?は?(人間|ロボット|ai|人工知能|ボット|bot|機械)(です|なの|なん)?(か|の|ですか)+.*|(誰|だれ)(が|に)(作|つく|開発).*|(あなた|君|自分|glimpse)について.*',
  filler:
    '(お願い(します|いたします)?|おねがい(します)?|ください|下さい|くれますか|くれませんか|もらえますか|いただけますか|頂けますか|欲しい(です)?|ほしい(です)?|(みな|皆)(さん|様)?|みんな|さん|様|ボット|bot|glimpse|ね|よ|です|ます|は|を|の|に|が|も|と|して|した|本当|ほんと|とても|すごく|また|今日|ちょっと|簡単|詳しく|短く|この|その)',
  picture:
    '(この|その|上の|下の|添付の?|次の|最初の|最後の)?(画像|写真|絵|イラスト|スクショ|スクリーンショット|スタンプ|絵文字|ファイル|図|シーン)|これ|それ|こちら|ここ',
  describe:
    '説明して?|説明(お願い|おねがい|を|が|しろ|せよ|でき|頼|欲|ほ|く|い|もら).*|描写(して?|を|お願い).*|解説(して?|を|お願い).*|(画像|写真|絵|イラスト|スクショ|これ|スタンプ)(の|に|は|を|について)*(内容|中身|説明|こと|状況|様子)?(について|を|は)?(教えて|話して|言って|述べて|読んで).*|(見える|写っている|映っている|写ってる|描かれている)(もの|物|こと).*',
  description:
    'キャプション|代替(テキスト|文|文字)|alt ?(テキスト|文|属性)|説明文?|解説文?|画像説明|altテキスト',
  look: '.*(何|なに)(が|を|か)(写|映|見え|描|うつ|ある|あり|見|起|い(る|ます)|載).*|.*(これ|それ|こちら|この(画像|写真|絵|イラスト|スタンプ|絵文字)|ここ)(は|って|には?)?(一体|いったい)?(何|なに|なん)(です|なの|だ|でしょう)?(か|の|ですか|ろう|？)*|(何|なに|なん)(これ|ですか(これ)?|だこれ|の(画像|写真|絵|イラスト|スタンプ)).*|.*どんな(画像|写真|絵|様子|感じ|状況|シーン|イラスト).*|(この)?(画像|写真|絵)は?$',
  opinion: '.*どう(思|おも|です|かな|でしょう|？|$).*|.*いかが.*|.*(感想|意見|アイデア).*',
  another: '(じゃあ|では|で|それと|あと)?(、)?(これ|こっち|こちら|この(画像|写真)|次)は?(どう)?(です)?(か)?',
  opener:
    '.*(何色|何個|何匹|何人|何本|何枚|何台|何羽|何頭|何つ|何種類|何時|何歳|何と|いくつ|いくら|どこ|どれ|どの|どちら|どっち|どんな|どれくらい|誰|だれ|なぜ|どうして|いつ|何の|何を|何が|何に|何で|なに|なんの|何か).*|.*(ですか|ますか|でしょうか|かな|るか|いるの|あるの|なの|のか|ませんか|ましたか|だろうか|ないか)$|.*(の(色|数|名前|種類|形|大きさ|位置|背景)|背景|色|数)は$',
  imperative: '.*(数えて|教えて|挙げて|比べて|当てて|探して|見つけて|答えて|言って|読んで|訳して|選んで).*',
  tag: 'よね|でしょ(う)?|ね|だよね|ですよね|じゃん',
  elsewhere:
    'あなた|君|きみ|私|わたし|僕|俺|みんな|皆|誰か|だれか|さん|今日|明日|昨日|来週|今週|月曜|火曜|水曜|木曜|金曜|土曜|日曜|何時|いつ|会議|ミーティング|ランチ|昼|夕飯|飲み|コーヒー|締め切り|締切|チケット|リンク|サーバー|バージョン|リリース|デプロイ|終わ|できた|直っ|壊れ|なぜ|どうして|行く|行き|来る|来ま|食べ(る|に|ま)|買|値段|本当|まじ|マジ|思(い|う)|知って|覚えて|撮(った|り)|もらった|予定|仕事|でしょ|よね|ませんか|ましょう',
  visual:
    '画像|写真|絵|イラスト|スクショ|スタンプ|背景|左|右|上|下|真ん中|中央|隣|後ろ|前|間|何色|色|いくつ|何個|何匹|何人|何本|何枚|何台|何羽|何頭|数え|数は|動物|もの|物|人|男|女|子供|大き|小さ|丸|四角|三角|文字|形|これは|それは|何が|何です|何を|どこに|どれ|どちら|説明|代替テキスト|キャプション|いますか|ありますか',
  ordinals: [
    '(1|一)(枚|番|つ)目|最初',
    '(2|二)(枚|番|つ)目',
    '(3|三)(枚|番|つ)目',
    '(4|四)(枚|番|つ)目',
    '(5|五)(枚|番|つ)目',
  ],
  last: '最後|最新|一番新しい|いちばん新しい',
  both: '両方|どちらも|どっちも|二枚とも|2枚とも|二つとも',
  all: '全部|すべて|全て|それぞれ|全員',
  one: '(のほう|の方|のもの)',
}

export const PHRASES: Record<'en' | 'de' | 'es' | 'fr' | 'ja', Phrases> = { en, de, es, fr, ja }
