"""What kind of place a web host, an address or a page belongs to: generic lists and keywords. Knows nothing of users or time.

The lists name well-known public sites by what they are for. They are meant to be extended; a site that is on none of them is
ordinary. A host matches a listed one when it is the same or lies below it (`www.dropbox.com` below `dropbox.com`).
"""

import re
from enum import IntEnum
from functools import lru_cache
from typing import Final

import polars as pl


class Category(IntEnum):
    """What a host or page is for; a larger number wins when two apply."""

    ORDINARY = 0
    WEBMAIL = 1
    CLOUD = 2
    EMPLOYER = 3
    JOBS = 4
    LEAK = 5
    SPYWARE = 6


FLAGGED: Final = (Category.CLOUD, Category.EMPLOYER, Category.JOBS, Category.LEAK, Category.SPYWARE)

_HOSTS: Final[dict[Category, str]] = {
    Category.WEBMAIL: """
        gmail.com googlemail.com mail.google.com hotmail.com outlook.com live.com msn.com yahoo.com ymail.com rocketmail.com aol.com
        aim.com juno.com netzero.com netzero.net comcast.net verizon.net cox.net charter.net bellsouth.net optonline.net
        sbcglobal.net att.net earthlink.net rr.com mac.com me.com icloud.com gmx.com gmx.net gmx.de web.de mail.com mail.ru yandex.ru
        yandex.com proton.me protonmail.com protonmail.ch tutanota.com tuta.io zoho.com inbox.com fastmail.com fastmail.fm hush.com
        hushmail.com qq.com 163.com 126.com sina.com naver.com orange.fr wanadoo.fr free.fr laposte.net t-online.de freenet.de
        btinternet.com virginmedia.com sky.com talktalk.net ntlworld.com bigpond.com telus.net shaw.ca rogers.com sympatico.ca
        mindspring.com prodigy.net roadrunner.com windstream.net frontier.com frontiernet.net centurylink.net embarqmail.com
        suddenlink.net cableone.net excite.com lycos.com rediffmail.com peoplepc.com mailinator.com guerrillamail.com""",
    Category.CLOUD: """
        dropbox.com box.com box.net drive.google.com docs.google.com onedrive.live.com 1drv.ms skydrive.com skydrive.live.com
        icloud.com mega.nz mega.co.nz megaupload.com mediafire.com 4shared.com rapidshare.com hotfile.com fileserve.com filesonic.com
        filefactory.com depositfiles.com uploaded.to uploaded.net uploading.com zippyshare.com sendspace.com wetransfer.com
        yousendit.com hightail.com sugarsync.com carbonite.com mozy.com backblaze.com idrive.com pcloud.com spideroak.com
        tresorit.com sync.com nextcloud.com owncloud.com wuala.com ge.tt filedropper.com file.io transfer.sh gofile.io anonfiles.com
        bayfiles.com ufile.io sharefile.com egnyte.com jumpshare.com filemail.com sendanywhere.com send-anywhere.com netload.in
        turbobit.net letitbit.net oron.com wupload.com filestube.com drop.io minus.com cloudme.com bitcasa.com justcloud.com
        zumodrive.com adrive.com livedrive.com elephantdrive.com opendrive.com s3.amazonaws.com""",
    Category.EMPLOYER: """
        lockheedmartin.com raytheon.com rtx.com northropgrumman.com boeing.com harris.com l3harris.com l-3com.com hp.com hpe.com
        generaldynamics.com gd.com gdit.com baesystems.com saic.com leidos.com boozallen.com caci.com mantech.com perspecta.com
        honeywell.com textron.com rockwellcollins.com collinsaerospace.com utc.com gulfstream.com spacex.com blueorigin.com
        airbus.com thalesgroup.com leonardo.com saab.com rheinmetall.com safran-group.com rolls-royce.com ge.com geaerospace.com
        accenture.com deloitte.com kpmg.com pwc.com ey.com mckinsey.com bcg.com bain.com capgemini.com infosys.com tcs.com
        wipro.com cognizant.com dxc.com unisys.com csc.com teradyne.com analog.com xilinx.com""",
    Category.JOBS: """
        linkedin.com monster.com careerbuilder.com indeed.com simplyhired.com job-hunt.org jobhuntersbible.com craigslist.org
        glassdoor.com dice.com ziprecruiter.com hotjobs.com hotjobs.yahoo.com hired.com theladders.com ladders.com snagajob.com
        jobs.com jobserve.com jobsite.co.uk reed.co.uk totaljobs.com cv-library.co.uk stepstone.com stepstone.de xing.com
        infojobs.net naukri.com seek.com.au jobstreet.com bayt.com beyond.com vault.com wetfeet.com flexjobs.com upwork.com
        odesk.com elance.com guru.com usajobs.gov clearancejobs.com clearedjobs.net careerjet.com jobing.com job.com jobs.net
        careers.org careeronestop.org resume.com resumerabbit.com livecareer.com zety.com wellfound.com angel.co
        weworkremotely.com remoteok.com workday.com myworkdayjobs.com greenhouse.io lever.co taleo.net icims.com smartrecruiters.com
        jobvite.com idealist.org mediabistro.com efinancialcareers.com theladder.com jobdiva.com headhunter.net""",
    Category.LEAK: """
        wikileaks.org wikileaks.ch wikileaks.info cryptome.org publicintelligence.net openleaks.org globaleaks.org ddosecrets.com
        distributeddenialofsecrets.com pastebin.com ghostbin.com pastie.org privatebin.net hastebin.com rentry.co
        securedrop.org balkanleaks.eu thepirateleaks.org theintercept.com localleaks.me icij.org offshoreleaks.icij.org
        zerohedge.com breachforums.st raidforums.com exploit.in doxbin.org doxbin.com anonpaste.org 0bin.net leakforums.net""",
    Category.SPYWARE: """
        refog.com softactivity.com wellresearchedreviews.com spectorsoft.com keylogpc.com relytec.com dailykeylogger.com
        webwatchernow.com actualkeylogger.com best-spy-soft.com download.cnet.com actualspy.com ardamax.com spyrix.com
        revealerkeylogger.com keyloggers.com keylogger.org kidlogger.net blazingtools.com allinonekeylogger.com iwantsoft.com
        hoverwatch.com flexispy.com mspy.com spyera.com spytech-web.com spyagent.com veriato.com teramind.co awarenesstech.com
        interguardsoftware.com e-spy-software.com elitekeyloggers.com widestep.com iopus.com pc-spy-software.com
        metasploit.com exploit-db.com hackforums.net nulled.to cracked.io kali.org backtrack-linux.org openwall.com oxid.it
        nirsoft.net packetstormsecurity.com packetstormsecurity.org hackthissite.org hak5.org aircrack-ng.org hashcat.net
        remote-exploit.org milw0rm.com darkc0de.com astalavista.com cobaltstrike.com mimikatz.com""",
}

# words in a host's own name or in the path of a page; ordinary text seldom holds them
_WORDS: Final[dict[Category, tuple[str, ...]]] = {
    Category.CLOUD: ("fileupload", "filehosting", "fileshare"),
    Category.JOBS: ("/jobs", "/careers", "/career/", "hotjobs", "jobsearch", "job-search", "jobboard", "job-board", "/resume",
                    "/vacancies"),
    Category.LEAK: ("wikileaks", "whistleblow", "leaksite"),
    Category.SPYWARE: ("keylog", "key-log", "keystroke", "spysoft", "spy-soft", "spyware", "computer-monitoring", "password-crack",
                       "passwordcrack", "spector", "stealer", "rootkit", "exploitkit"),
}  # fmt: skip
TELLING: Final = "|".join(sorted({re.escape(form) for words in _WORDS.values() for word in words for form in (word, word.title())}))
"""A pattern for pages that need a second look: they hold a keyword, in lower case or with capitals in front.

Few enough plain words for a vectorised search; ignoring case altogether would take three times as long.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LISTED: Final[dict[str, Category]] = {host: category for category, hosts in sorted(_HOSTS.items()) for host in hosts.split()}
_LONGEST_HOST: Final = 253  # by the rules of the domain name system; what is longer is no host
_AFTER_HOST: Final = re.compile(r"[/\\?#]")
_PERSONAL: Final = frozenset(_HOSTS[Category.WEBMAIL].split())
ARCHIVES: Final = _words("zip rar 7z tar gz tgz bz2 xz iso cab arj ace lzh img dmg pst ost bak")
PROGRAMS: Final = _words("exe msi dll com bat cmd scr ps1 vbs js jar apk sys bin run sh hta lnk deb rpm")


def authority_of(url: pl.Expr) -> pl.Expr:
    """The part of each URL that holds the host: between the first two slashes and the next, or all before a slash; null for null."""
    parts = url.str.splitn("/", 4).struct
    return pl.when(parts.field("field_1") == "").then(parts.field("field_2")).otherwise(parts.field("field_0"))


def host_of(authority: str) -> str:
    """The host in the authority of a URL: lower case, without user, port and `www.`.

    >>> host_of("WWW.Example.org:8080"), host_of("ana:secret@example.org?x"), host_of("")
    ('example.org', 'example.org', '')
    """
    text = _AFTER_HOST.split(authority, maxsplit=1)[0].rpartition("@")[2]
    return text.partition(":")[0].strip().rstrip(".").lower().removeprefix("www.")[:_LONGEST_HOST]


@lru_cache(maxsize=65_536)
def category_of_host(host: str) -> Category:
    """What a host is for, by the lists and then by words in its name.

    >>> category_of_host("files.dropbox.com").name, category_of_host("example.org").name
    ('CLOUD', 'ORDINARY')
    """
    rest = host.removeprefix("www.")
    while rest:
        found = _LISTED.get(rest)
        if found is not None:
            return found
        _, _, rest = rest.partition(".")
    return category_of_words(host)


def category_of_words(text: str) -> Category:
    """What the words of a host or page say; `ORDINARY` when they say nothing."""
    lowered = text.lower()
    return max((category for category, words in _WORDS.items() if any(word in lowered for word in words)), default=Category.ORDINARY)


def is_personal(host: str) -> bool:
    """Whether addresses at this host are private people's, not a company's."""
    return host in _PERSONAL or category_of_host(host) is Category.WEBMAIL
