"""The words an organisation is made of: names, roles, web sites and what pages, mails and documents talk about.

Plain tables. Knows nothing of chance, time or files.
"""

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COMPANY: Final = "dtaa.com"

FIRST_NAMES: Final = _words(
    """
    Adele Alan Amara Anton Arjun Astrid Beatriz Bela Boris Bridget Caleb Carmen Cedric Chloe Clara Conrad Dalia Damian Dora Edgar
    Elena Elias Emil Esther Fabian Farah Felix Fiona Flora Gideon Greta Gustav Hana Harold Hector Helga Hugo Ida Igor Imani Ingrid
    Iris Isaac Ivan Jada Jasper Joel Jonas Judith Julia Kai Karim Katya Keiko Kira Lars Laura Leif Lena Leo Lidia Linus Lotte Lucas
    Magda Malik Mara Marco Marta Mateo Maya Milan Mina Miriam Nadia Naomi Nico Nina Nora Oleg Olga Omar Oscar Otto Paula Pavel Petra
    Priya Quentin Rafael Rania Rhea Rolf Rosa Ruben Ruth Sana Saul Selma Sergei Silas Simone Sofia Stella Sven Tamar Tariq Tessa
    Theo Tilda Tomas Uma Ursula Valerie Vera Victor Viola Walter Wanda Wilma Xavier Yara Yusuf Zara Zeno
    """
)

MIDDLE_NAMES: Final = _words(
    """
    Abel Alma Amos Anais Ansel Avery Basil Blair Blythe Bram Cleo Dale Dawn Eden Ellis Ember Enid Erin Ezra Fay Flint Gale Glen Gray
    Hale Haven Hope Indigo Jade Jules June Kit Lane Lark Lee Lux Lyle Mae Marlow Merle Neil Noel Oak Olive Paige Pearl Penn Quinn
    Reed Remy Rhys Robin Rory Rowan Rue Sage Sasha Sky Tate Tess Vale Wren Wynn Zane
    """
)

LAST_NAMES: Final = _words(
    """
    Abbott Acosta Adler Aldana Amir Archer Arnaud Baker Banks Barros Becker Bell Berg Bishop Blanc Bloom Bose Brandt Brook Burke
    Cabrera Calder Carver Castro Chandra Clarke Cole Conti Cooper Cortez Crane Cruz Dahl Dalton Das Delgado Dietrich Dixon Doyle
    Drake Duarte Dunn Eberle Ellis Engel Espinosa Evans Falk Farrell Fischer Fleming Flores Foster Fox Frank Frost Gallo Garner
    Gibbs Gill Glover Gomez Grant Greer Gupta Haas Hahn Hale Hansen Hardy Hart Haupt Hayes Heller Herrera Hobbs Holm Horn Hughes
    Ibarra Iqbal Irwin Jain Janssen Jensen Joshi Kahn Kane Kaplan Keller Kemp Khan Kim King Klein Koch Kovacs Kramer Kumar Lambert
    Lang Larsen Leal Lind Lopez Lowe Ludwig Lund Maas Maher Malone Marin Marsh Mason Mendez Meyer Mills Molina Moreau Moss Nair Nash
    Navarro Nelson Nguyen Nolan Novak Ochoa Olsen Ortiz Osman Owens Pace Palmer Park Patel Paz Perry Pham Pierce Pope Prince Quist
    Rao Ramos Reyes Rhodes Richter Rios Roth Rowe Ruiz Russo Salas Santos Sato Sauer Schmidt Seiler Shah Sharp Silva Singh Sloan
    Soto Stark Steele Stone Suarez Tanaka Thorne Torres Tran Unger Vance Vargas Vega Vogel Voss Wagner Walsh Ward Weber Webb Weiss
    Wells West Wolf Wong Wynn Yates Young Zeller Ziegler
    """
)

# What people do all day. Each role belongs to a unit and department, has a working topic and a share of the workforce.
ROLES: Final[tuple[tuple[str, str, str, str, float], ...]] = (
    # role, functional unit, department, working topic, share
    ("ProductionLineWorker", "3 - Manufacturing", "3 - Assembly", "manufacturing", 0.13),
    ("Technician", "3 - Manufacturing", "2 - Testing", "manufacturing", 0.10),
    ("TestEngineer", "3 - Manufacturing", "2 - Testing", "engineering", 0.04),
    ("Salesman", "5 - SalesAndMarketing", "2 - Sales", "sales", 0.14),
    ("FieldServiceEngineer", "5 - SalesAndMarketing", "3 - FieldService", "engineering", 0.04),
    ("SoftwareEngineer", "2 - ResearchAndEngineering", "2 - SoftwareManagement", "software", 0.08),
    ("ComputerProgrammer", "2 - ResearchAndEngineering", "2 - SoftwareManagement", "software", 0.05),
    ("ElectricalEngineer", "2 - ResearchAndEngineering", "3 - Engineering", "engineering", 0.06),
    ("MechanicalEngineer", "2 - ResearchAndEngineering", "3 - Engineering", "engineering", 0.05),
    ("SystemsEngineer", "2 - ResearchAndEngineering", "3 - Engineering", "engineering", 0.04),
    ("Scientist", "2 - ResearchAndEngineering", "1 - Research", "science", 0.05),
    ("Physicist", "2 - ResearchAndEngineering", "1 - Research", "science", 0.03),
    ("Mathematician", "2 - ResearchAndEngineering", "1 - Research", "science", 0.03),
    ("ITAdmin", "1 - Administration", "5 - ITSupport", "systems", 0.06),
    ("AdministrativeAssistant", "1 - Administration", "2 - Office", "office", 0.04),
    ("HumanResourceSpecialist", "1 - Administration", "3 - HumanResources", "people", 0.03),
    ("SecurityGuard", "1 - Administration", "4 - Security", "office", 0.02),
    ("Attorney", "1 - Administration", "1 - Legal", "contracts", 0.02),
    ("Accountant", "4 - PurchasingAndContracts", "1 - Accounting", "finance", 0.03),
    ("PurchasingClerk", "4 - PurchasingAndContracts", "2 - Purchasing", "contracts", 0.02),
)

# Topic -> words that pages, mails and documents about it carry.
TOPICS: Final[dict[str, str]] = {
    "manufacturing": """
        assembly line shift tooling yield scrap fixture torque batch inspection weld pallet conveyor defect operator gauge rework""",
    "engineering": """
        design drawing tolerance actuator prototype schematic thermal load bracket circuit antenna revision specification bearing
        valve""",
    "science": """
        measurement experiment spectrum sample model simulation error paper laser particle statistics theorem data curve instrument""",
    "software": """
        release build compiler function patch branch database interface test module deploy latency queue parser version library
        commit""",
    "sales": """
        customer quote territory forecast contract discount pipeline lead demo renewal partner pricing meeting account quarter
        region""",
    "finance": "ledger invoice budget audit balance accrual expense payment quarter forecast reconciliation asset tax statement variance",
    "contracts": """
        supplier clause purchase order liability tender license agreement delivery penalty amendment approval vendor terms signature""",
    "people": """
        candidate interview benefits onboarding training appraisal salary policy vacancy resume hiring leave workshop reference
        position""",
    "office": "calendar room agenda minutes badge visitor travel booking supplies mailing schedule phone copy reception parking",
    "systems": """
        server backup firewall patch account directory router ticket update driver password monitoring virus image storage network""",
    "news": "election weather storm report minister court city economy protest president police reform journal editorial hurricane",
    "sport": "season match playoff league goal quarterback pitcher coach tournament record team draft stadium final transfer",
    "shopping": "deal price shipping cart review discount brand shoes camera coupon garden furniture size color order gift",
    "travel": "flight hotel beach island museum train itinerary passport mountain lake tour ticket resort city harbor",
    "social": "friend photo comment birthday party group message wall profile status video share tag event weekend",
    "music": "album guitar concert band song lyrics chorus piano festival opera vinyl drummer playlist jazz orchestra",
    "cars": "engine sedan mileage dealer tire hybrid transmission horsepower brake lease coupe garage convertible truck wheel",
    "food": "recipe oven garlic chicken pasta dessert bread restaurant sauce chocolate salad soup kitchen spice coffee",
    "health": "doctor vitamin exercise sleep diet pregnancy allergy muscle therapy clinic yoga heart running symptom nurse",
    "games": "level player quest console score puzzle guild strategy arcade multiplayer dragon sword rating card avatar",
    "money": "mortgage stock fund dividend credit bank interest retirement insurance savings portfolio bond loan broker index",
    "tech": "phone tablet chip laptop browser android screen startup gadget robot wireless processor camera review battery",
    "search": "results query images maps answer definition translate dictionary encyclopedia article history wiki portal directory",
    "jobs": """
        resume career salary opening interview recruiter position apply hiring experience employment candidate benefits relocation
        offer""",
    "cloud": "upload folder sync share download storage link archive file drive document quota backup transfer account",
    "leak": """
        disclosure whistleblower cable secret classified source anonymous publish truth archive release submission document scandal
        public""",
    "spyware": "keylogger monitor invisible record keystroke password stealth capture install spy employee parental remote trial log",
    "grievance": """
        unappreciated overtime unfair ignored promotion complaint regret blame angry resign warning fault irreplaceable consequences
        leaving""",
    "panic": "urgent evacuate layoffs bankrupt closing immediately danger everyone fired investigation chaos lawsuit shutdown warning",
}

GENERAL_WORDS: Final = _words(
    """
    the with from about after before their which would first other could right early small large young local public main under
    around between during because through several another possible important different national general available recent
    """
)

# Topic -> hosts.
SITES: Final[dict[str, str]] = {
    "manufacturing": """
        thomasnet.com grainger.com mcmaster.com globalspec.com assemblymag.com qualitydigest.com mmsonline.com lean.org
        msdssearch.com""",
    "engineering": """
        ieee.org digikey.com mouser.com edn.com eetimes.com engineeringtoolbox.com matweb.com asme.org sae.org efunda.com nist.gov""",
    "science": """
        arxiv.org nature.com sciencemag.org aps.org aip.org mathworks.com wolfram.com nasa.gov plosone.org springerlink.com
        jstor.org""",
    "software": """
        stackoverflow.com github.com sourceforge.net msdn.microsoft.com apache.org python.org oracle.com slashdot.org
        codeproject.com pastebin.com""",
    "sales": "salesforce.com hoovers.com zoominfo.com manta.com jigsaw.com marketingprofs.com hubspot.com eventbrite.com webex.com",
    "finance": "bloomberg.com sec.gov irs.gov aicpa.org cfo.com accountingweb.com quickbooks.com adp.com fasb.org",
    "contracts": "findlaw.com law.cornell.edu ariba.com fbo.gov gsa.gov uspto.gov lexisnexis.com docusign.com",
    "people": "shrm.org dol.gov eeoc.gov payscale.com hr.com workforce.com",
    "office": "officedepot.com staples.com fedex.com ups.com usps.com evite.com doodle.com americanairlines.com",
    "systems": """
        microsoft.com cisco.com dell.com vmware.com redhat.com sysinternals.com serverfault.com sans.org symantec.com mcafee.com
        bleepingcomputer.com spiceworks.com""",
    "news": """
        cnn.com nytimes.com bbc.co.uk washingtonpost.com reuters.com usatoday.com foxnews.com huffingtonpost.com slate.com time.com
        guardian.co.uk weather.com npr.org wsj.com""",
    "sport": "espn.com nfl.com mlb.com nba.com nhl.com golf.com cbssports.com si.com bleacherreport.com fifa.com nascar.com",
    "shopping": """
        amazon.com ebay.com walmart.com target.com bestbuy.com etsy.com overstock.com zappos.com ikea.com costco.com sears.com
        newegg.com""",
    "travel": "expedia.com tripadvisor.com orbitz.com kayak.com southwest.com hotels.com priceline.com lonelyplanet.com airbnb.com",
    "social": "facebook.com twitter.com myspace.com tumblr.com flickr.com classmates.com livejournal.com meetup.com pinterest.com",
    "music": "pandora.com last.fm itunes.com lyrics.com rollingstone.com pitchfork.com billboard.com vevo.com",
    "cars": "autotrader.com cars.com edmunds.com kbb.com ford.com toyota.com caranddriver.com carmax.com",
    "food": "allrecipes.com foodnetwork.com yelp.com epicurious.com opentable.com chow.com bonappetit.com",
    "health": "webmd.com mayoclinic.com nih.gov fitness.com healthline.com drugs.com everydayhealth.com",
    "games": "ign.com gamespot.com pogo.com miniclip.com steampowered.com kongregate.com gamefaqs.com zynga.com",
    "money": "bankofamerica.com chase.com wellsfargo.com paypal.com fidelity.com etrade.com mint.com vanguard.com marketwatch.com",
    "tech": """
        cnet.com techcrunch.com engadget.com gizmodo.com wired.com pcworld.com zdnet.com mashable.com apple.com adobe.com
        arstechnica.com""",
    "search": """
        google.com yahoo.com bing.com wikipedia.org ask.com aol.com msn.com about.com answers.com youtube.com gmail.com hotmail.com""",
    "jobs": """
        linkedin.com monster.com careerbuilder.com indeed.com simplyhired.com job-hunt.org jobhuntersbible.com craigslist.org
        dice.com glassdoor.com usajobs.gov hotjobs.com lockheedmartin.com raytheon.com northropgrumman.com boeing.com harris.com
        hp.com""",
    "cloud": """
        dropbox.com mediafire.com 4shared.com box.net skydrive.com rapidshare.com megaupload.com yousendit.com filefactory.com
        sugarsync.com""",
    "leak": "wikileaks.org cryptome.org publicintelligence.net openleaks.org zerohedge.com",
    "spyware": """
        refog.com softactivity.com wellresearchedreviews.com best-spy-soft.com download.cnet.com spectorsoft.com keylogpc.com
        relytec.com actualspy.com snapfiles.com nirsoft.net majorgeeks.com""",
}

# Topics nobody picks as a hobby; each is visited at a rate of its own.
SENSITIVE: Final = ("jobs", "cloud", "leak", "spyware")
HOBBIES: Final = _words("news sport shopping travel social music cars food health games money tech")

TAIL_STEMS: Final = _words(
    """
    alpine amber apex arrow aspen atlas beacon birch blue bright canyon cedar cobalt coral crest crystal delta ember falcon fern
    forge gale glacier granite grove harbor hazel iron ivory jasper juniper lantern laurel lunar maple marble meadow mesa nova oak
    onyx orchid pearl pine prairie quartz raven ridge river sage sierra silver slate solar spruce stone summit sunset terra tidal
    umber valley velvet willow
    """
)

TAIL_ENDS: Final = _words(
    """
    blog daily forum guide hub journal life market online place point review shop spot store times tips world zone works
    """
)

PERSONAL_PROVIDERS: Final = _words(
    """
    gmail.com yahoo.com hotmail.com comcast.net verizon.net aol.com juno.com cox.net charter.net bellsouth.net msn.com
    """
)

PARTNERS: Final = _words(
    """
    acmeparts.com norlandsteel.com brightlogic.com helioworks.com meridianbank.com tristateair.com cobaltlabs.com fairviewlaw.com
    """
)

COMPETITORS: Final = _words(
    """
    lockheedmartin.com raytheon.com northropgrumman.com boeing.com harris.com hp.com
    """
)

EXTENSIONS: Final = ("doc", "pdf", "jpg", "txt", "zip", "exe", "xls")
FILE_HEADERS: Final = (
    "D0-CF-11-E0-A1-B1-1A-E1",
    "25-50-44-46-2D",
    "FF-D8-FF-E0",
    "",
    "50-4B-03-04-14",
    "4D-5A-90-00-03-00-00-00",
    "D0-CF-11-E0-A1-B1-1A-E1",
)
