"""Label names of well-known image tasks, from public knowledge: words that the name table must know.

One string a task, names parted by commas. Only names, no data; spelling as people write them.
"""

from __future__ import annotations

LABEL_SETS: dict[str, str] = {
    "cifar10": "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck",
    "cifar100": (
        "apple, aquarium fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, bus, butterfly, "
        "camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, cockroach, couch, crab, crocodile, cup, "
        "dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house, kangaroo, keyboard, lamp, lawn mower, "
        "leopard, lion, lizard, lobster, man, maple tree, motorcycle, mountain, mouse, mushroom, oak tree, orange, orchid, "
        "otter, palm tree, pear, pickup truck, pine tree, plain, plate, poppy, porcupine, possum, rabbit, raccoon, ray, "
        "road, rocket, rose, sea, seal, shark, shrew, skunk, skyscraper, snail, snake, spider, squirrel, streetcar, "
        "sunflower, sweet pepper, table, tank, telephone, television, tiger, tractor, train, trout, tulip, turtle, wardrobe, "
        "whale, willow tree, wolf, woman, worm"
    ),
    "cifar100 groups": (
        "aquatic mammals, fish, flowers, food containers, fruit and vegetables, household electrical devices, household "
        "furniture, insects, large carnivores, large man-made outdoor things, large natural outdoor scenes, large omnivores "
        "and herbivores, medium-sized mammals, non-insect invertebrates, people, reptiles, small mammals, trees, vehicles"
    ),
    "digits": (
        "zero, one, two, three, four, five, six, seven, eight, nine, ten, digit, digit zero, digit one, digit two, digit "
        "three, digit four, digit five, digit six, digit seven, digit eight, digit nine, number 0, number 1, number 2, number "
        "3, number 4, number 5, number 6, number 7, number 8, number 9, handwritten digit, handwritten letter, letter a, "
        "letter b, letter c, character, hiragana, katakana, kanji, alphabet, uppercase, lowercase, house number"
    ),
    "clothing": (
        "T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot, jeans, hoodie, jacket, blazer, "
        "cardigan, skirt, shorts, leggings, polo shirt, sweatshirt, blouse, tank top, jumpsuit, romper, kimono, swimsuit, "
        "bikini, underwear, socks, scarf, gloves, hat, cap, beanie, belt, tie, sunglasses, handbag, backpack, wallet, watch, "
        "earrings, necklace, ring, bracelet, high heels, flip flops, loafers, running shoes, boots"
    ),
    "flowers": (
        "daisy, dandelion, roses, sunflowers, tulips, pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, "
        "english marigold, tiger lily, moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king "
        "protea, spear thistle, yellow iris, globe flower, purple coneflower, peruvian lily, balloon flower, giant white arum "
        "lily, fire lily, pincushion flower, fritillary, red ginger, grape hyacinth, corn poppy, prince of wales feathers, "
        "stemless gentian, artichoke, sweet william, carnation, garden phlox, love in the mist, mexican aster, alpine sea "
        "holly, ruby-lipped cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy, daffodil, sword "
        "lily, poinsettia, bolero deep blue, wallflower, marigold, buttercup, oxeye daisy, common dandelion, petunia, wild "
        "pansy, primula, sunflower, pelargonium, bishop of llandaff, gaura, geranium, orange dahlia, pink-yellow dahlia, "
        "cautleya spicata, japanese anemone, black-eyed susan, silverbush, californian poppy, osteospermum, spring crocus, "
        "bearded iris, windflower, tree poppy, gazania, azalea, water lily, rose, thorn apple, morning glory, passion flower, "
        "lotus, toad lily, anthurium, frangipani, clematis, hibiscus, columbine, desert-rose, tree mallow, magnolia, "
        "cyclamen, watercress, canna lily, hippeastrum, bee balm, ball moss, foxglove, bougainvillea, camellia, mallow, "
        "mexican petunia, bromelia, blanket flower, trumpet creeper, blackberry lily"
    ),
    "pets": (
        "Abyssinian, American bulldog, American pit bull terrier, basset hound, beagle, Bengal, Birman, Bombay, boxer, "
        "British shorthair, chihuahua, Egyptian Mau, English cocker spaniel, English setter, German shorthaired, great "
        "pyrenees, havanese, Japanese chin, keeshond, leonberger, Maine Coon, miniature pinscher, newfoundland, Persian, "
        "pomeranian, pug, Ragdoll, Russian Blue, saint bernard, samoyed, scottish terrier, shiba inu, Siamese, Sphynx, "
        "staffordshire bull terrier, wheaten terrier, yorkshire terrier, golden retriever, labrador, poodle, husky, german "
        "shepherd, dachshund, corgi, rottweiler, parrot, goldfish, hamster, guinea pig, ferret"
    ),
    "food": (
        "apple pie, baby back ribs, baklava, beef carpaccio, beef tartare, beet salad, beignets, bibimbap, bread pudding, "
        "breakfast burrito, bruschetta, caesar salad, cannoli, caprese salad, carrot cake, ceviche, cheesecake, cheese plate, "
        "chicken curry, chicken quesadilla, chicken wings, chocolate cake, chocolate mousse, churros, clam chowder, club "
        "sandwich, crab cakes, creme brulee, croque madame, cup cakes, deviled eggs, donuts, dumplings, edamame, eggs "
        "benedict, escargots, falafel, filet mignon, fish and chips, foie gras, french fries, french onion soup, french "
        "toast, fried calamari, fried rice, frozen yogurt, garlic bread, gnocchi, greek salad, grilled cheese sandwich, "
        "grilled salmon, guacamole, gyoza, hamburger, hot and sour soup, hot dog, huevos rancheros, hummus, ice cream, "
        "lasagna, lobster bisque, lobster roll sandwich, macaroni and cheese, macarons, miso soup, mussels, nachos, omelette, "
        "onion rings, oysters, pad thai, paella, pancakes, panna cotta, peking duck, pho, pizza, pork chop, poutine, prime "
        "rib, pulled pork sandwich, ramen, ravioli, red velvet cake, risotto, samosa, sashimi, scallops, seaweed salad, "
        "shrimp and grits, spaghetti bolognese, spaghetti carbonara, spring rolls, steak, strawberry shortcake, sushi, tacos, "
        "takoyaki, tiramisu, tuna tartare, waffles, dal, naan, biryani, dosa, idli, vada pav, chapati, paneer, kebab, shawarma"
    ),
    "fruit": (
        "apple, banana, grape, mango, strawberry, orange, lemon, lime, kiwi, watermelon, melon, pineapple, papaya, pomegranate, "
        "guava, lychee, dragon fruit, passion fruit, fig, date, cherry, plum, peach, apricot, nectarine, blueberry, raspberry, "
        "blackberry, coconut, avocado, tomato, potato, carrot, onion, garlic, ginger, cucumber, zucchini, eggplant, capsicum, "
        "bell pepper, chilli, cabbage, cauliflower, broccoli, lettuce, spinach, radish, beetroot, turnip, sweet potato, corn, "
        "peas, beans, soybean, pumpkin, mushroom, celery, asparagus, fresh, rotten, ripe, unripe"
    ),
    "scenes": (
        "buildings, forest, glacier, mountain, sea, street, beach, desert, airport terminal, kitchen, bedroom, bathroom, living "
        "room, dining room, office, classroom, library, restaurant, bar, supermarket, church, castle, tower, bridge, "
        "highway, railway station, subway station, parking lot, playground, stadium, swimming pool, garden, park, field, farm, "
        "vineyard, orchard, lake, river, waterfall, coast, harbor, island, sky, canyon, cave, valley, volcano, snowfield, "
        "rainforest, swamp, inside city, open country, tall building, suburb, industrial, store, corridor, staircase, lobby, "
        "hospital room, laboratory, warehouse, garage, attic, basement, balcony, courtyard, alley, plaza, indoor, outdoor"
    ),
    "satellite": (
        "annual crop, forest, herbaceous vegetation, highway, industrial, pasture, permanent crop, residential, river, sea lake, "
        "agricultural, airplane, baseball diamond, beach, buildings, chaparral, dense residential, freeway, golf course, "
        "harbor, intersection, medium residential, mobile home park, overpass, parking lot, runway, sparse residential, storage "
        "tanks, tennis court, basketball court, bare soil, wetland, urban, cropland, grassland, shrubland, barren land, snow and "
        "ice, water, cloud, ship, vehicle, roundabout, roof, solar panel, wind turbine, wildfire, flood, damaged building, "
        "deforestation, commercial area, railway, thermal power station, terrace, meadow, cloudy, desert, green area"
    ),
    "textures": (
        "banded, blotchy, braided, bubbly, bumpy, chequered, cobwebbed, cracked, crosshatched, crystalline, dotted, fibrous, "
        "flecked, freckled, frilly, gauzy, grid, grooved, honeycombed, interlaced, knitted, lacelike, lined, marbled, matted, "
        "meshed, paisley, perforated, pitted, pleated, polka-dotted, porous, potholed, scaly, smeared, spiralled, sprinkled, "
        "stained, stratified, striped, studded, swirly, veined, waffled, woven, wrinkled, zigzagged, fabric, leather, wood, "
        "metal, glass, plastic, paper, stone, brick, concrete, foliage, hair, skin, ceramic, carpet, tile"
    ),
    "medical": (
        "normal, abnormal, healthy, benign, malignant, tumor, no tumor, glioma, meningioma, pituitary tumor, brain tumor, "
        "metastasis, cancer, adenocarcinoma, squamous cell carcinoma, basal cell carcinoma, melanoma, melanocytic nevus, "
        "actinic keratosis, benign keratosis, dermatofibroma, vascular lesion, seborrheic keratosis, eczema, psoriasis, acne, "
        "rosacea, ringworm, chickenpox, monkeypox, measles, pneumonia, viral pneumonia, bacterial pneumonia, covid-19, "
        "tuberculosis, lung opacity, atelectasis, cardiomegaly, effusion, infiltration, mass, nodule, pneumothorax, "
        "consolidation, edema, emphysema, fibrosis, pleural thickening, hernia, fracture, no finding, diabetic retinopathy, "
        "mild, moderate, severe, proliferative, cataract, glaucoma, macular degeneration, drusen, choroidal "
        "neovascularization, hypertension, myopia, polyp, ulcerative colitis, esophagitis, cecum, pylorus, adipose, "
        "background, debris, lymphocytes, mucus, smooth muscle, stroma, epithelium, colorectal, erythrocyte, platelet, "
        "neutrophil, eosinophil, basophil, monocyte, immature granulocyte, erythroblast, leukemia, malaria, parasitized, "
        "uninfected, alzheimer, mild demented, non demented, very mild demented, stroke, hemorrhage, kidney stone, cyst, "
        "bladder, femur, heart, kidney, liver, lung, pancreas, spleen, spine, chest x-ray, ultrasound, mri, ct scan, cell, "
        "nucleus, mitosis, dental caries, gingivitis, tooth, ulcer, wound, burn, bruise, hand, foot, knee, osteoarthritis"
    ),
    "traffic": (
        "stop, yield, speed limit, speed limit 20, speed limit 30, speed limit 50, speed limit 60, speed limit 70, speed limit "
        "80, speed limit 100, speed limit 120, end of speed limit, no passing, end of no passing, right-of-way at the next "
        "intersection, priority road, no vehicles, no entry, general caution, dangerous curve to the left, dangerous curve to "
        "the right, double curve, bumpy road, slippery road, road narrows on the right, road work, traffic signals, traffic "
        "light, pedestrians, children crossing, bicycles crossing, beware of ice and snow, wild animals crossing, turn right "
        "ahead, turn left ahead, ahead only, go straight or right, go straight or left, keep right, keep left, roundabout "
        "mandatory, crosswalk, railway crossing, one way, no parking, no stopping, no u-turn, give way, traffic sign, red "
        "light, green light, yellow light, sedan, suv, coupe, convertible, hatchback, minivan, van, wagon, pickup, truck, bus, "
        "motorcycle, bicycle, scooter, ambulance, fire engine, police car, taxi, tram, trailer, tractor, excavator, bulldozer, "
        "forklift, crane, lorry, jeep, limousine, race car, train, boat, sailboat, ferry, submarine, helicopter, drone, glider, "
        "pedestrian, cyclist, license plate, pothole, accident, empty, occupied"
    ),
    "plants and pests": (
        "apple scab, black rot, cedar apple rust, powdery mildew, gray leaf spot, common rust, northern leaf blight, esca, leaf "
        "blight, citrus greening, bacterial spot, early blight, late blight, leaf scorch, leaf mold, septoria leaf spot, spider "
        "mites, target spot, mosaic virus, yellow leaf curl virus, healthy leaf, diseased, leaf rust, stem rust, blast, brown "
        "spot, tungro, angular leaf spot, bean rust, cassava mosaic disease, brown streak disease, green mottle, wheat, rice, "
        "maize, cotton, sugarcane, coffee, tea, seedling, weed, black-grass, charlock, cleavers, common chickweed, fat hen, "
        "loose silky-bent, scentless mayweed, shepherd's purse, small-flowered cranesbill, sugar beet, aphid, locust, weevil, "
        "leafhopper, armyworm, stem borer, grasshopper, moth, mosquito, wasp, fly, ant, termite, earwig, slug, snail, mite"
    ),
    "animals": (
        "antelope, badger, bat, bison, boar, bobcat, butterfly, cheetah, coyote, cow, crow, dragonfly, duck, eagle, flamingo, "
        "giraffe, goat, goose, gorilla, hare, hedgehog, hippopotamus, hornbill, hummingbird, hyena, jellyfish, koala, ladybug, "
        "lynx, meerkat, mole, monkey, moose, octopus, okapi, orangutan, owl, ox, oyster, panda, parrot, pelican, penguin, pig, "
        "pigeon, polar bear, reindeer, rhinoceros, salamander, sandpiper, seahorse, sheep, sparrow, squid, starfish, swan, toad, "
        "turkey, wallaby, walrus, warbler, weasel, wombat, woodpecker, yak, zebra, songbird, raptor, waterfowl, gull, tern, "
        "albatross, finch, bunting, kingfisher, cuckoo, vireo, wren, grebe, oriole, jay, swallow, flycatcher, tanager, grosbeak, "
        "blackbird, cormorant, kite, hawk, falcon, plover, egret, heron, ibis, stork, mammal, reptile, amphibian, insect, "
        "arachnid, mollusk, bird, fish, plant, fungus, animal, wildlife, human, arthropod, worm, coral, sponge, sea urchin"
    ),
    "people": (
        "angry, disgust, fear, happy, neutral, sad, surprise, contempt, smiling, crying, male, female, man, woman, boy, girl, "
        "child, adult, teenager, elderly, young, old, face, no face, mask, no mask, incorrectly worn mask, real face, fake "
        "face, deepfake, glasses, no glasses, beard, mustache, bald, blond hair, black hair, open eyes, closed eyes, drowsy, "
        "awake, yawning, safe driving, texting, talking on the phone, drinking, reaching behind, hair and makeup, talking to "
        "passenger, thumbs up, fist, palm, peace sign, ok sign, sign language, rock, paper, scissors"
    ),
    "actions": (
        "applauding, blowing bubbles, brushing teeth, cleaning the floor, climbing, cooking, cutting trees, cutting vegetables, "
        "feeding a horse, fishing, fixing a bike, fixing a car, gardening, holding an umbrella, jumping, looking through a "
        "microscope, looking through a telescope, playing guitar, playing violin, pouring liquid, pushing a cart, reading, "
        "riding a bike, riding a horse, rowing a boat, running, shooting an arrow, taking photos, throwing frisby, using a "
        "computer, walking the dog, washing dishes, watching TV, waving hands, writing on a board, writing on a book, sitting, "
        "standing, walking, sleeping, eating, dancing, hugging, fighting, laughing, listening to music, cycling, swimming, "
        "archery, badminton, baseball, basketball, billiards, bowling, boxing, cricket, fencing, football, golf, gymnastics, "
        "hockey, judo, rugby, sailing, skiing, snowboarding, soccer, surfing, table tennis, tennis, volleyball, weightlifting, "
        "wrestling, yoga, push up, pull up, squat, deadlift, bench press"
    ),
    "documents and media": (
        "letter, form, email, handwritten, advertisement, scientific report, scientific publication, specification, file "
        "folder, news article, budget, invoice, presentation, questionnaire, resume, memo, receipt, passport, identity card, "
        "driver license, bank statement, table, figure, chart, bar chart, pie chart, line chart, scatter plot, diagram, flow "
        "chart, map, logo, screenshot, cartoon, anime, drawing, painting, sketch, clipart, product, real world, photo, "
        "infograph, quickdraw, 3d render, illustration, watercolor, oil painting, impressionism, cubism, baroque, renaissance, "
        "abstract expressionism, pop art, realism, surrealism, portrait, landscape, still life, sculpture, graffiti, tattoo, "
        "meme, comic, poster, book cover, album cover, ai generated, safe, unsafe, nsfw, porn, hentai, sexy, violence, weapon, "
        "gun, knife, blurry, sharp, watermark, text, no text, upside down, rotated, spectrogram, siren, dog bark, street music"
    ),
    "objects": (
        "bottle, cup, mug, plate, fork, spoon, pan, kettle, toaster, microwave, oven, refrigerator, washing machine, vacuum "
        "cleaner, hair dryer, toothbrush, soap, towel, mirror, sink, toilet, bathtub, curtain, pillow, blanket, sofa, bench, "
        "desk, bookcase, drawer, lamp, candle, clock, vase, potted plant, laptop, monitor, computer mouse, keyboard, printer, "
        "mobile phone, headphones, speaker, camera, calculator, pen, pencil, eraser, notebook, stapler, scissors, tape, glue, "
        "ruler, paper clip, postit notes, trash can, bucket, hammer, screwdriver, drill, saw, wrench, pliers, nail, screw, nut, "
        "bolt, ladder, umbrella, suitcase, skateboard, kite, ball, racket, toy, doll, lego, guitar, piano, violin, drum, "
        "trumpet, saxophone, cardboard, glass, metal, paper, plastic, trash, battery, biological, clothes, shoes, recyclable, "
        "organic, e-waste, crack, no crack, defect, good, broken, scratch, dent, contamination, hole, missing, corrosion, weld, "
        "crazing, inclusion, patches, pitted surface, rolled-in scale, scratches, fire, smoke, no fire, explosion, chess piece, "
        "king, queen, bishop, knight, rook, pawn, playing card, coin, banknote, pill, circuit board, screw defect, helmet, "
        "safety vest, aircraft carrier, faces, leopards, motorbikes, accordion, ant, barrel, binocular, bonsai, brain, buddha, "
        "ceiling fan, cellphone, chandelier, cougar body, crocodile head, euphonium, ewer, ferry, gramophone, grand piano, "
        "hawksbill, hedgehog, ibis, inline skate, joshua tree, ketch, llama, mandolin, mayfly, menorah, metronome, minaret, "
        "nautilus, pagoda, pizza, revolver, schooner, scorpion, sea horse, snoopy, soccer ball, stegosaurus, stop sign, "
        "trilobite, wheelchair, windsor chair, yin yang, other, unknown, none, background, miscellaneous, negative, positive"
    ),
    "vehicles": (
        "Audi, BMW, Mercedes-Benz, Volkswagen, Toyota, Honda, Nissan, Hyundai, Kia, Mazda, Subaru, Suzuki, Mitsubishi, Lexus, "
        "Infiniti, Acura, Ford, Chevrolet, Dodge, Chrysler, Jeep, Cadillac, Buick, GMC, Lincoln, Tesla, Volvo, Saab, Jaguar, "
        "Land Rover, Mini Cooper, Bentley, Rolls-Royce, Aston Martin, Lamborghini, Ferrari, Maserati, Porsche, Bugatti, "
        "McLaren, Fiat, Alfa Romeo, Peugeot, Renault, Citroen, Skoda, Seat, Opel, Tata, Mahindra, Boeing 707, Boeing 727, "
        "Boeing 737, Boeing 747, Boeing 757, Boeing 767, Boeing 777, Airbus A310, Airbus A320, Airbus A330, Airbus A340, "
        "Airbus A380, Cessna, Embraer, Gulfstream, Fokker, Tornado, Eurofighter Typhoon, F-16, F-22, Spitfire, Hercules, "
        "Dash 8, Yak-42, Tupolev, Ilyushin, Bombardier, cargo ship, tanker, cruise ship, container ship, warship, yacht, "
        "fishing boat, kayak, canoe, airliner, fighter jet, bomber, biplane, seaplane, hot air balloon, satellite, rocket"
    ),
}
