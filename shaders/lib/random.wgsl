// Counter-based randomness, bit for bit as src/rng.rs: Threefry-2x32-20 and a keyed permutation.

fn threefry_round(x: vec2<u32>, rotation: u32) -> vec2<u32> {
    let sum = x.x + x.y;
    return vec2<u32>(sum, ((x.y << rotation) | (x.y >> (32u - rotation))) ^ sum);
}

fn threefry_even(x: vec2<u32>) -> vec2<u32> {
    return threefry_round(threefry_round(threefry_round(threefry_round(x, 13u), 15u), 26u), 6u);
}

fn threefry_odd(x: vec2<u32>) -> vec2<u32> {
    return threefry_round(threefry_round(threefry_round(threefry_round(x, 17u), 29u), 16u), 24u);
}

/// Two random words for a key and a counter.
fn threefry(key_0: u32, key_1: u32, counter_0: u32, counter_1: u32) -> vec2<u32> {
    let key_2 = 0x1BD11BDAu ^ key_0 ^ key_1;
    var x = vec2<u32>(counter_0 + key_0, counter_1 + key_1);
    x = threefry_even(x) + vec2<u32>(key_1, key_2 + 1u);
    x = threefry_odd(x) + vec2<u32>(key_2, key_0 + 2u);
    x = threefry_even(x) + vec2<u32>(key_0, key_1 + 3u);
    x = threefry_odd(x) + vec2<u32>(key_1, key_2 + 4u);
    return threefry_even(x) + vec2<u32>(key_2, key_0 + 5u);
}

fn feistel_round(key: vec2<u32>, halves: vec2<u32>, mask: u32, round: u32) -> vec2<u32> {
    return vec2<u32>(halves.y, halves.x ^ (threefry(key.x, key.y, halves.y, round).x & mask));
}

/// Image of `index` under a permutation of 0..n: a four-round Feistel network on the smallest even
/// number of bits that holds n, walked until the result falls below n.
fn permute_index(key_0: u32, key_1: u32, n: u32, index: u32) -> u32 {
    let key = vec2<u32>(key_0, key_1);
    let half_bits = max((33u - countLeadingZeros(n - 1u)) / 2u, 1u);
    let mask = (1u << half_bits) - 1u;
    var value = index;
    loop {
        var halves = vec2<u32>(value >> half_bits, value & mask);
        halves = feistel_round(key, halves, mask, 0u);
        halves = feistel_round(key, halves, mask, 1u);
        halves = feistel_round(key, halves, mask, 2u);
        halves = feistel_round(key, halves, mask, 3u);
        value = (halves.x << half_bits) | halves.y;
        if value < n {
            break;
        }
    }
    return value;
}
