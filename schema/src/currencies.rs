//! The currencies of ISO 4217, with the decimal places of their minor units.
//!
//! The table of the maintenance agency as published on 2026-01-01, and codes withdrawn since 1999 with the places that they
//! had: a history is replayed with the currencies of its time. Codes without a minor unit (gold, the units of funds between
//! banks, tests) are left out: there is no telling what an amount of them would be counted in.

/// By the number of places.
const CURRENT: [(u8, &str); 4] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW \
         CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF \
         IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK \
         MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP \
         SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG \
         YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

const WITHDRAWN: [(u8, &str); 2] = [
    (0, "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE ROL TPE TRL"),
    (
        2,
        "AFA ANG ATS AYM AZM BGL BGN CSD CUC CYP DEM EEK FIM FRF GHC GWP HRK IEP LTL LVL MRO MTL MZM NLG RUR SDD SIT \
         SKK SLL SRG STD TMM USS VEB VEF YUM ZMK ZWD ZWL ZWN ZWR",
    ),
];

const LETTERS: usize = 26;
const UNKNOWN: u8 = u8::MAX;

/// The places of every code of three letters, or [`UNKNOWN`].
static PLACES: [u8; LETTERS * LETTERS * LETTERS] = {
    let mut places = [UNKNOWN; LETTERS * LETTERS * LETTERS];
    let mut list = 0;
    while list < CURRENT.len() + WITHDRAWN.len() {
        let (digits, codes) = if list < CURRENT.len() { CURRENT[list] } else { WITHDRAWN[list - CURRENT.len()] };
        let codes = codes.as_bytes();
        let mut at = 0;
        while at < codes.len() {
            let slot = slot_of([codes[at], codes[at + 1], codes[at + 2]]);
            assert!(places[slot] == UNKNOWN, "a code stands once");
            places[slot] = digits;
            at += 4;
        }
        list += 1;
    }
    places
};

/// Three capitals, of which there are 17,576.
#[inline]
const fn slot_of(code: [u8; 3]) -> usize {
    let [a, b, c] = code;
    ((a - b'A') as usize * LETTERS + (b - b'A') as usize) * LETTERS + (c - b'A') as usize
}

/// The decimal places of a currency, by its code in capitals; `None` where the standard has none of that code.
#[inline]
pub fn places_of(code: [u8; 3]) -> Option<u32> {
    if !code.iter().all(u8::is_ascii_uppercase) {
        return None;
    }
    let places = PLACES[slot_of(code)];
    (places != UNKNOWN).then_some(u32::from(places))
}
