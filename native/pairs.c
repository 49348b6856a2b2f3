/* Lines of pairs to columns, such as LTSV, and CEF and LEEF with what is in front of theirs. */

#include "native.h"

/* A text that is `from` here as the value of a key. */
static bool put_from(Reading *reading, const Key *key, int64_t line, const byte *at,
                     const byte *end, const Made *from)
{
    if (key->kind == NAMED)
        return put_named(reading, key, line, at, end, from);
    if (key->kind != TEXT)
        return put_meaning(reading, key, line, at, end);
    ((View *)key->out)[line] = view_of(at, end - at, from->buffer, from->data);
    return true;
}

/* Undoes the escapes of CEF: of bars, signs, backslashes and the ends of lines. */
static void unescape(Made *made, const byte *at, const byte *end)
{
    static const char NAMES[] = "\\|=nr", MEANT[] = "\\|=\n\r";
    const byte *slash;

    while ((slash = find(at, end, '\\', '\\', 0))) {
        const char *name = slash + 1 < end && slash[1] ? strchr(NAMES, slash[1]) : NULL;
        append(made, at, slash - at);
        append(made, name ? &MEANT[name - NAMES] : "\\", 1);
        at = slash + 1 + (name != NULL);
    }
    append(made, at, end - at);
}

/* A text as the value of a key, and of those that mean it, too. */
static bool put_all(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end)
{
    const Key *other = reading->keys + key->first, *stop = other + key->count;
    Made *from = &reading->lines;

    if (key->kind == ASKED)
        return put_asked(reading, key, line, at, end);
    if (reading->pairs.is_spaced && find(at, end, '\\', '\\', 0)) {
        int64_t begin = reading->texts.size;
        from = &reading->texts;
        unescape(from, at, end);
        at = from->data + begin;
        end = from->data + from->size;
    }
    for (; other < stop; other++) {
        reading->seen |= bit_of(reading, other);
        if (!put_from(reading, other, line, at, end, from))
            return false;
    }
    return put_from(reading, key, line, at, end, from);
}

/* What syslog has in front, with a time or without; NULL of `time` if there is none. */
static bool put_syslog(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    const Key *key = reading->keys, *time = key->count ? key + key->first : NULL;

    while (at < end && *at == ' ')
        at++;
    while (at < end && end[-1] == ' ')
        end--;
    const byte *word = at, *stop;
    if (at == end)
        return !time;
    if (time && *word == '<') {
        stop = find(word, end, '>', ' ', 0);
        if (!stop || *stop != '>' || stop < word + 2)
            return false;
        for (word++; word < stop; word++)
            if (*word < '0' || *word > '9')
                return false;
        word++;
        word += end - word > 2 && *word == '1' && word[1] == ' ' ? 2 : 0;
    }
    stop = find(word, end, ' ', ' ', 0);
    if (time && !put_moment(reading, time, line, word, stop ? stop : end, read_iso))
        return false;
    return *at > ' ' && end[-1] > ' ' && append_member(reading, key, at, end);
}

/* Reads what is in front of the pairs; returns where they begin, NULL if it is not as usual. */
static const byte *read_head(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    const Pairs *pairs = &reading->pairs;
    const byte *begin = at, *stop;
    Number version;

    while (begin && !is_here(&pairs->before, begin, end))
        begin = find(begin + 1, end, *pairs->before.text, *pairs->before.text, 0);
    if (!begin || (begin > at && !put_syslog(reading, line, at, begin)))
        return NULL;
    at = begin + pairs->before.size;
    if (!(stop = read_number(at, end, &version)) || stop == end || *stop != '|' || *at == '-')
        return NULL;
    for (int64_t number = 1; number <= pairs->count; number++) {
        for (stop = at; (stop = find(stop, end, '|', '\\', 0)) && *stop == '\\';)
            stop += 1 + pairs->is_spaced;
        if (!stop || !put_all(reading, reading->keys + number, line, at, stop))
            return NULL;
        at = stop + 1;
    }
    reading->likely = pairs->count + 1;
    reading->seen |= (2ULL << pairs->count) - 1;
    return is_here(&pairs->after, at, end) ? at + pairs->after.size : NULL;
}

static bool is_of_key(byte one)
{
    return (one | ' ') - 'a' < 26u || (one >= '-' && one <= '9' && one != '/') || one == '_' ||
           one == '[' || one == ']';
}

/* Where the next key is, behind spaces, or the end. */
static const byte *next_key(const byte *at, const byte *end, byte sign)
{
    for (const byte *found = at; (found = find(found, end, sign, sign, 0)); found++) {
        const byte *key = found;
        while (key > at && is_of_key(key[-1]))
            key--;
        if (key < found && key > at && key[-1] <= ' ')
            return key;
    }
    return end;
}

bool read_pairs(Reading *reading, int64_t line, const byte *at, const byte *end)
{
    const Pairs *pairs = &reading->pairs;

    if (pairs->count && !(at = read_head(reading, line, at, end)))
        return false;
    for (;;) {
        while (at < end && *at == pairs->between)
            at++;
        if (at == end)
            return true;
        const Key *key = find_key(reading, at, end, pairs->sign);
        if (!key)
            return false;
        at += key->size + 1;
        const byte *next = pairs->is_spaced ? next_key(at, end, pairs->sign)
                                            : find(at, end, pairs->between, pairs->between, 0);
        next = next ? next : end;
        const byte *stop = next;
        while (pairs->is_spaced && stop > at && stop[-1] == ' ')
            stop--;
        if (pairs->count && stop > at && (stop[-1] <= ' ' || (*at <= ' ' && !pairs->is_spaced)))
            return false;
        if (stop - at == 1 && *at == pairs->none)
            reading->seen &= ~bit_of(reading, key);
        else if (!put_all(reading, key, line, at, stop))
            return false;
        at = next;
    }
}
