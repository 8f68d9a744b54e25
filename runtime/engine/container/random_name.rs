//! A name for a container that nobody named: `quiet_heron`.

const WORDS: [&str; 48] = [
    "amber", "brave", "bright", "brisk", "calm", "clear", "cool", "crisp", "deep", "eager", "early", "fair", "fast",
    "fine", "fresh", "gentle", "glad", "golden", "grand", "green", "happy", "honest", "keen", "kind", "late", "light",
    "lively", "lucky", "mellow", "merry", "mild", "neat", "noble", "pale", "patient", "plain", "proud", "quick",
    "quiet", "ready", "salty", "silent", "silver", "steady", "still", "sunny", "swift", "windy",
];

const CREATURES: [&str; 48] = [
    "anchovy",
    "auk",
    "avocet",
    "barnacle",
    "bream",
    "clam",
    "cockle",
    "cod",
    "coral",
    "cormorant",
    "crab",
    "curlew",
    "dolphin",
    "dunlin",
    "eel",
    "eider",
    "gannet",
    "godwit",
    "gull",
    "haddock",
    "heron",
    "herring",
    "kelp",
    "kittiwake",
    "limpet",
    "lobster",
    "mackerel",
    "mussel",
    "oyster",
    "periwinkle",
    "petrel",
    "plaice",
    "plover",
    "porpoise",
    "prawn",
    "puffin",
    "ray",
    "samphire",
    "sandpiper",
    "seal",
    "shrimp",
    "skua",
    "sole",
    "sprat",
    "tern",
    "turnstone",
    "whelk",
    "whimbrel",
];

/// The name that belongs to `digits`; with every attempt another, from the 48th on with a number.
pub fn from(digits: u64, attempt: u64) -> String {
    let word = WORDS[(digits % 48) as usize];
    let creature = CREATURES[((digits / 48 + attempt) % 48) as usize];
    if attempt < 48 { format!("{word}_{creature}") } else { format!("{word}_{creature}{attempt}") }
}
