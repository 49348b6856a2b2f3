/* Paths of requests without what differs from one request to the next. */

#include "native.h"

/* What a segment consists of. */
enum { OTHER = 1, DIGIT = 2, LETTER = 4, DASH = 8 };

static const byte KINDS[256] = {
    ['0' ... '9'] = DIGIT,
    ['a' ... 'f'] = LETTER,
    ['A' ... 'F'] = LETTER,
    ['-'] = DASH,
};

static bool is_uuid(const byte *at, int64_t size)
{
    int64_t dashes = 0;

    for (int64_t place = 0; place < size; place++)
        dashes += at[place] == '-';
    return size == 36 && dashes == 4 && at[8] == '-' && at[13] == '-' && at[18] == '-' &&
           at[23] == '-';
}

/* A number, a UUID (RFC 9562), or 16 and more hexadecimal digits. */
static bool is_id(const byte *at, int64_t size, unsigned kinds)
{
    if (!size || kinds & OTHER)
        return false;
    if (kinds & DASH)
        return is_uuid(at, size);
    return kinds == DIGIT || size >= 16;
}

/* Where nothing behind the text may be read. */
static byte *put_exactly(byte *to, const byte *at, int64_t size)
{
    memcpy(to, at, size);
    return to + size;
}

static byte *put_id(byte *to)
{
    memcpy(to, ":id", 3);
    return to + 3;
}

/* The same as `mask` for up to 63 bytes: in a copy, behind which more may be read. */
static int64_t mask_short(const View *view, const byte *text, byte **made)
{
    const int64_t size = view->size;
    byte path[64 + LANES];
    uint64_t slashes = 0, queries = 1ULL << size, digits = 0, letters = 0, dashes = 0;

    for (int64_t at = 0; at < size; at += LANES) {
        Vector piece = piece_of(view, text, at), letter = (piece | ' ') - 'a';
        store(path + at, piece);
        slashes |= (uint64_t)bits(piece == '/') << at;
        queries |= (uint64_t)bits(piece == '?') << at;
        digits |= (uint64_t)bits(piece - '0' <= 9) << at;
        letters |= (uint64_t)bits(letter <= 5) << at;
        dashes |= (uint64_t)bits(piece == '-') << at;
    }
    int64_t length = __builtin_ctzll(queries);
    uint64_t inside = (1ULL << length) - 1, kinds = (digits | letters | dashes) & inside;
    slashes &= inside;
    /* What begins behind a slash carries over to where it ends: another slash, or the end. */
    uint64_t ends = (kinds + (slashes << 1 & kinds)) & ~kinds & (slashes | 1ULL << length);
    const byte *copied = path;
    for (; ends; ends &= ends - 1) {
        uint64_t before = (ends & -ends) - 1;
        int64_t end = __builtin_ctzll(ends), begin = 64 - __builtin_clzll(slashes & before);
        uint64_t within = before + 1 - (1ULL << begin);
        unsigned found = (within & digits ? DIGIT : 0) | (within & letters ? LETTER : 0) |
                         (within & dashes ? DASH : 0);
        if (is_id(path + begin, end - begin, found)) {
            *made = put_id(put(*made, copied, path + begin - copied));
            copied = path + end;
        }
    }
    if (copied > path)
        *made = put(*made, copied, path + length - copied);
    return length;
}

/* Returns how many bytes are before the query. They are in `made` only if one segment is an id. */
static int64_t mask(const View *view, const byte *path, byte **made)
{
    const byte *at = path, *end = path + view->size, *copied = path, *segment = NULL;
    unsigned kinds = 0;

    if (view->size < 64)
        return mask_short(view, path, made);
    for (;; at++) {
        byte found = at < end ? *at : '?';
        if (found != '/' && found != '?') {
            kinds |= KINDS[found] ? KINDS[found] : OTHER;
            continue;
        }
        if (segment && is_id(segment, at - segment, kinds)) {
            *made = put_id(put_exactly(*made, copied, segment - copied));
            copied = at;
        }
        if (found == '?')
            break;
        segment = at + 1;
        kinds = 0;
    }
    if (copied > path)
        *made = put_exactly(*made, copied, at - copied);
    return at - path;
}

/* The view of the first `size` bytes of a text that has a view. */
static View shortened(const View *view, const byte *text, int64_t size)
{
    View made = *view;

    made.size = (int32_t)size;
    if (size > (int64_t)sizeof made.here)
        return made;
    return view_here(piece_of(view, text, 0), size);
}

/*
 * Fills in each of `count` paths less its query, with `:id` in the place of every segment that is
 * an id. What is not in the paths as it is, is in `made`, which is buffer number `made_is` and has
 * room for twice the bytes of all paths, and 16 more. Returns how many bytes that is.
 */
int64_t logwax_mask_ids(const View *paths, const byte *const *buffers, int64_t count, View *masked,
                        byte *made, int32_t made_is)
{
    byte *to = made;

    for (int64_t row = 0; row < count; row++) {
        const View *view = &paths[row];
        expect(paths, row, count, buffers);
        const byte *path = bytes_of(view, buffers), *begin = to;
        int64_t size = mask(view, path, &to);
        masked[row] = to > begin ? view_of(begin, to - begin, made_is, made)
                                 : shortened(view, path, size);
    }
    return to - made;
}
