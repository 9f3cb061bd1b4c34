"""Which languages the text models know: by 20 short sentences of four topics in each of eight.

    python benchmarks/languages.py

The sentences were written for this, five a topic, the same in each language. A sentence takes the
topic of its nearest neighbour: among the others of its language; among the English ones; and, the
mean over all pairs of languages, among those of another one. Its own translation does not count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import BadContent
from lookalike.extractors.text import text_encoder

_MODELS = ("minilm-l6-v2", "bge-small-en-v1.5", "multilingual-e5-small")
_EACH = 5
_TOPICS = ("bank", "weather", "cooking", "football")

SENTENCES: Mapping[str, str] = {
    "English": """
        I lost my bank card yesterday
        How do I change the PIN of my account?
        The transfer has not reached my account
        Why was a fee charged for the withdrawal?
        I want to open a savings account
        It will rain tomorrow afternoon
        Snow is expected in the mountains tonight
        The storm tore down several trees
        It is sunny and warm at the coast
        The fog will lift by noon
        Fry the onions in butter until golden
        Let the dough rise for an hour
        Season the soup with salt and pepper
        Bake the cake at a moderate heat
        Peel the potatoes and boil them
        The striker scored twice in the second half
        The goalkeeper saved the penalty
        Our team lost the final after extra time
        The referee showed him the red card
        The coach has named a new captain
    """,
    "German": """
        Ich habe gestern meine Bankkarte verloren
        Wie ändere ich die PIN meines Kontos?
        Die Überweisung ist nicht auf meinem Konto angekommen
        Warum wurde eine Gebühr für die Abhebung berechnet?
        Ich möchte ein Sparkonto eröffnen
        Morgen Nachmittag wird es regnen
        In den Bergen wird heute Nacht Schnee erwartet
        Der Sturm hat mehrere Bäume umgerissen
        An der Küste ist es sonnig und warm
        Der Nebel löst sich bis Mittag auf
        Die Zwiebeln in Butter goldgelb braten
        Den Teig eine Stunde gehen lassen
        Die Suppe mit Salz und Pfeffer würzen
        Den Kuchen bei mittlerer Hitze backen
        Die Kartoffeln schälen und kochen
        Der Stürmer traf in der zweiten Halbzeit zweimal
        Der Torwart hielt den Elfmeter
        Unsere Mannschaft verlor das Finale nach Verlängerung
        Der Schiedsrichter zeigte ihm die Rote Karte
        Der Trainer hat einen neuen Kapitän bestimmt
    """,
    "French": """
        J'ai perdu ma carte bancaire hier
        Comment changer le code de mon compte ?
        Le virement n'est pas arrivé sur mon compte
        Pourquoi des frais ont-ils été prélevés pour le retrait ?
        Je voudrais ouvrir un livret d'épargne
        Il pleuvra demain après-midi
        De la neige est attendue cette nuit en montagne
        La tempête a abattu plusieurs arbres
        Il fait beau et chaud sur la côte
        Le brouillard se lèvera avant midi
        Faire dorer les oignons dans le beurre
        Laisser lever la pâte pendant une heure
        Assaisonner la soupe de sel et de poivre
        Cuire le gâteau à chaleur moyenne
        Éplucher les pommes de terre et les faire bouillir
        L'attaquant a marqué deux buts en seconde période
        Le gardien a arrêté le penalty
        Notre équipe a perdu la finale après prolongation
        L'arbitre lui a montré le carton rouge
        L'entraîneur a désigné un nouveau capitaine
    """,
    "Spanish": """
        Ayer perdí mi tarjeta del banco
        ¿Cómo cambio el PIN de mi cuenta?
        La transferencia no ha llegado a mi cuenta
        ¿Por qué me cobraron una comisión por el retiro?
        Quiero abrir una cuenta de ahorros
        Mañana por la tarde lloverá
        Se espera nieve esta noche en las montañas
        La tormenta derribó varios árboles
        En la costa hace sol y calor
        La niebla se disipará antes del mediodía
        Freír las cebollas en mantequilla hasta que se doren
        Dejar reposar la masa una hora
        Sazonar la sopa con sal y pimienta
        Hornear el pastel a fuego medio
        Pelar las patatas y hervirlas
        El delantero marcó dos goles en la segunda parte
        El portero paró el penalti
        Nuestro equipo perdió la final en la prórroga
        El árbitro le mostró la tarjeta roja
        El entrenador ha nombrado un nuevo capitán
    """,
    "Russian": """
        Вчера я потерял банковскую карту
        Как изменить пин-код моего счёта?
        Перевод не поступил на мой счёт
        Почему за снятие денег взяли комиссию?
        Я хочу открыть сберегательный счёт
        Завтра после обеда будет дождь
        Ночью в горах ожидается снег
        Буря повалила несколько деревьев
        На побережье солнечно и тепло
        Туман рассеется к полудню
        Обжарьте лук на масле до золотистого цвета
        Дайте тесту подняться в течение часа
        Приправьте суп солью и перцем
        Выпекайте пирог на среднем огне
        Очистите и отварите картофель
        Нападающий забил дважды во втором тайме
        Вратарь отбил пенальти
        Наша команда проиграла финал в дополнительное время
        Судья показал ему красную карточку
        Тренер назначил нового капитана
    """,
    "Chinese": """
        我昨天丢了银行卡
        怎样修改我账户的密码？
        转账还没有到我的账户
        为什么取款要收手续费？
        我想开一个储蓄账户
        明天下午会下雨
        今晚山区预计有雪
        暴风雨吹倒了几棵树
        海边阳光明媚，天气温暖
        雾会在中午前散去
        用黄油把洋葱炒至金黄
        让面团发酵一个小时
        用盐和胡椒给汤调味
        用中火烤蛋糕
        把土豆去皮煮熟
        前锋在下半场进了两个球
        守门员扑出了点球
        我们队在加时赛后输掉了决赛
        裁判向他出示了红牌
        教练任命了新队长
    """,
    "Arabic": """
        فقدت بطاقتي المصرفية أمس
        كيف أغير الرقم السري لحسابي؟
        لم يصل التحويل إلى حسابي
        لماذا تم خصم رسوم على السحب؟
        أريد فتح حساب توفير
        ستمطر غدا بعد الظهر
        من المتوقع تساقط الثلوج في الجبال الليلة
        أسقطت العاصفة عدة أشجار
        الطقس مشمس ودافئ على الساحل
        سينقشع الضباب قبل الظهر
        اقلي البصل في الزبدة حتى يصبح ذهبيا
        اترك العجين يرتاح لمدة ساعة
        تبل الحساء بالملح والفلفل
        اخبز الكعكة على حرارة متوسطة
        قشر البطاطس واسلقها
        سجل المهاجم هدفين في الشوط الثاني
        تصدى الحارس لركلة الجزاء
        خسر فريقنا النهائي بعد الوقت الإضافي
        أظهر له الحكم البطاقة الحمراء
        عين المدرب قائدا جديدا
    """,
    "Turkish": """
        Dün banka kartımı kaybettim
        Hesabımın şifresini nasıl değiştiririm?
        Havale hesabıma ulaşmadı
        Para çekme için neden ücret alındı?
        Tasarruf hesabı açmak istiyorum
        Yarın öğleden sonra yağmur yağacak
        Bu gece dağlarda kar bekleniyor
        Fırtına birkaç ağacı devirdi
        Sahilde hava güneşli ve sıcak
        Sis öğleye kadar dağılacak
        Soğanları tereyağında altın rengi olana kadar kavurun
        Hamuru bir saat mayalandırın
        Çorbayı tuz ve karabiberle tatlandırın
        Keki orta ateşte pişirin
        Patatesleri soyup haşlayın
        Forvet ikinci yarıda iki gol attı
        Kaleci penaltıyı kurtardı
        Takımımız uzatmalarda finali kaybetti
        Hakem ona kırmızı kart gösterdi
        Teknik direktör yeni kaptanı belirledi
    """,
}
"""Five sentences of each topic, in the order of the topics."""


def main() -> None:
    """Measure each model and print a row a language."""
    for name in _MODELS:
        started = time.process_time()
        read = {language: _read(name, text) for language, text in SENTENCES.items()}
        spent = time.process_time() - started
        count = sum(len(vectors) for vectors, _ in read.values())
        print(f"{name}: {spent / count * 1000:.0f} ms of processor time a sentence")
        for language, (vectors, refused) in read.items():
            within = _right(vectors, vectors)
            english = _right(vectors, read["English"][0])
            print(f"  {language:8} within {within:.2f}, English {english:.2f}, refused {refused}")
        pairs = [
            _right(read[one][0], read[other][0]) for one in read for other in read if one != other
        ]
        print(f"  another language, mean of all pairs: {np.mean(pairs):.2f}")


def _read(model: str, text: str) -> tuple[NDArray[np.float64], int]:
    """Return the vectors of sentences, zero where the model refuses one, and how many it does."""
    encoder = text_encoder(model, threads=1)
    lines = [line.strip() for line in text.strip().splitlines()]
    vectors = np.zeros((len(lines), encoder.space.dimension))
    refused = 0
    for place, line in enumerate(lines):
        try:
            vectors[place] = encoder.passages(line, name=line)[0].vector
        except BadContent:
            refused += 1
    return vectors, refused


def _right(asked: NDArray[np.float64], among: NDArray[np.float64]) -> float:
    """Return the share of sentences whose nearest neighbour, not itself, is of their topic."""
    cosines = asked @ among.T
    np.fill_diagonal(cosines, -1)
    topics = np.repeat(np.arange(len(_TOPICS)), _EACH)
    known = np.any(asked != 0, axis=1)
    return float((known & (topics[cosines.argmax(axis=1)] == topics)).mean())


if __name__ == "__main__":
    main()
