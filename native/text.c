/* Looking through text. */

#include "native.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline bool ends_plain(byte found, byte quote)
{
    return found == quote || found == '\\' || found < ' ';
}

const byte *end_of_plain(const byte *at, const byte *end, byte quote)
{
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8((char)quote), escapes = _mm_set1_epi8('\\');
    const __m128i controls = _mm_set1_epi8(' ' - 1);

    for (; end - at >= 16; at += 16) {
        __m128i text = _mm_loadu_si128((const __m128i *)at);
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(text, quotes), _mm_cmpeq_epi8(text, escapes));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(text, controls), text);
        int which = _mm_movemask_epi8(_mm_or_si128(found, control));
        if (which)
            return at + __builtin_ctz((unsigned)which);
    }
#endif
    while (at < end && !ends_plain(*at, quote))
        at++;
    return at;
}

const byte *end_of_word(const byte *at, const byte *end)
{
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"'), spaces = _mm_set1_epi8(' ');

    for (; end - at >= 16; at += 16) {
        __m128i text = _mm_loadu_si128((const __m128i *)at);
        __m128i space = _mm_cmpeq_epi8(_mm_min_epu8(text, spaces), text);
        int which = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(text, quotes), space));
        if (which)
            return at + __builtin_ctz((unsigned)which);
    }
#endif
    while (at < end && *at > ' ' && *at != '"')
        at++;
    return at;
}
