/* Lines to columns: what the formats have in common. */

#include "native.h"

static ReadLine *const FORMS[] = {
    [JSON] = read_json,
    [LOGFMT] = read_logfmt,
    [LAYOUT] = read_layout,
    [PAIRS] = read_pairs,
    [CONSOLE] = read_console,
};

/* Whether this is here, or, if it is 0, the end of a word. */
static inline bool closes(const byte *at, const byte *end, byte closing)
{
    return closing ? at < end && *at == closing : at == end || (at < end && *at <= ' ');
}

const Key *find_key(Reading *reading, const byte *at, const byte *end, byte closing)
{
    int64_t likely = reading->likely;

    for (int64_t tried = 0; tried < reading->key_count; tried++, likely++) {
        if (likely >= reading->key_count)
            likely = 0;
        const Key *key = &reading->keys[likely];
        if (closes(at + key->size, end, closing) &&
            is_same(at, key->label, key->size)) {
            bool is_new = !(reading->seen >> likely & 1);
            reading->seen |= 1ULL << likely;
            reading->likely = likely + 1;
            return is_new ? key : NULL;
        }
    }
    return NULL;
}

void put_time(Reading *reading, const Key *key, int64_t line, int64_t micros, bool is_zoned)
{
    ((int64_t *)key->out)[line] = micros;
    reading->has_time = true;
    reading->is_clock = !is_zoned;
}

void begin_member(Reading *reading, const Key *key)
{
    Made *made = &reading->objects;
    byte *begin = made->data + made->size;

    made->size = put(begin, key->name, key->name_size) - made->data;
    if (begin > made->data + reading->object)
        *begin = ',';
}

bool append_quoted(Made *made, const byte *at, const byte *end)
{
    byte *to = made->data + made->size;
    *to++ = '"';
    if (end - at <= LANES && !(which_are(at, '"', '\\', ' ') << (LANES - (end - at)) & 0xffff)) {
        store(to, load(at)); /* as nearly always */
        to += end - at;
        at = end;
    }
    for (; at < end; at++) {
        const byte *stop = end_of_plain(at, end);
        to = put(to, at, stop - at);
        at = stop;
        if (stop == end)
            break;
        if (*stop < ' ')
            return false;
        *to++ = '\\';
        *to++ = *stop;
    }
    *to++ = '"';
    made->size = to - made->data;
    return true;
}

bool append_member(Reading *reading, const Key *key, const byte *at, const byte *end)
{
    begin_member(reading, key);
    return append_quoted(&reading->objects, at, end);
}

const byte *read_coded(Reading *reading, const byte *codes, const byte *at, const byte *end,
                       bool *is_none)
{
    uint64_t zone = 0;
    int64_t micros;
    bool is_zoned;
    const byte *stop = read_pattern(codes, at, end, &micros, &is_zoned, is_none, &zone);

    if (!stop || (zone && reading->zone && zone != reading->zone))
        return NULL;
    reading->micros = micros;
    reading->is_zoned = is_zoned;
    reading->zone |= zone;
    return stop;
}

bool put_moment(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end,
                ReadTime *read)
{
    int64_t size = end - at;

    if (!size || size != reading->time_size || reading->codes ||
        !is_same(at, reading->time, size)) {
        reading->time_size = 0;
        reading->codes = NULL;
        bool is_none;
        if (!read(at, end, &reading->micros, &reading->is_zoned) &&
            !(reading->way && read_coded(reading, reading->way, at, end, &is_none) == end))
            return false;
        reading->time = at;
        reading->time_size = size;
    }
    put_time(reading, key, line, reading->micros, reading->is_zoned);
    return true;
}

const View *meaning_of(const Key *key, const byte *at, const byte *end)
{
    if (end - at > key->longest_word)
        return NULL;
    View view = view_here(load(at), end - at);
    for (const Word *word = key->words; word < key->words + key->word_count; word++)
        if (!memcmp(&word->word, &view, sizeof view))
            return &word->meaning;
    return NULL;
}

bool is_none(const Key *key, const byte *at, const byte *end)
{
    const View *meaning = meaning_of(key, at, end);
    return meaning && !meaning->size;
}

/* Narrows a text that is an address with a port to the address: see flows/parsing/keys.py. */
static void leave_out_port(const byte **begin, const byte **end)
{
    const byte *colon = *end;

    while (colon > *begin && colon[-1] >= '0' && colon[-1] <= '9')
        colon--;
    if (colon-- == *begin || *colon != ':' || *end - colon < 2 || *end - colon > 6)
        return;
    bool is_bracketed = colon - *begin >= 2 && **begin == '[' && colon[-1] == ']';
    const byte *first = *begin + is_bracketed, *last = colon - is_bracketed;
    for (const byte *at = first; at < last; at++)
        if (*at == '[' || *at == ']' || (*at == ':' && !is_bracketed))
            return;
    *begin = first;
    *end = last;
}

bool put_named(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end,
               const Made *from)
{
    View *out = (View *)key->out + line;
    const View *meaning = meaning_of(key, at, end);

    if (meaning) {
        *out = *meaning;
        if (!meaning->size)
            reading->empty |= bit_of(reading, key);
        return true;
    }
    if (key->is_address) {
        const byte *comma = memchr(at, ',', end - at);
        bool is_top = key < reading->keys + reading->key_count; /* within others is an object */
        if (comma &&
            !(is_top && from == &reading->lines && append_member(reading, key, at, end)))
            return false;
        end = comma ? comma : end;
        leave_out_port(&at, &end);
    }
    *out = view_of(at, end - at, from->buffer, from->data);
    return true;
}

bool put_meaning(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end)
{
    switch (key->kind) {
    case ATTRIBUTE:
        return append_member(reading, key, at, end);
    case TIME:
        return put_moment(reading, key, line, at, end, read_moment);
    case NAMED:
        return put_named(reading, key, line, at, end, &reading->lines);
    case LESSER:
        return is_none(key, at, end) || append_member(reading, key, at, end);
    case NOTHING:
        return is_none(key, at, end);
    }
    if (at == end || (end - at == 1 && *at == '-'))
        reading->empty |= bit_of(reading, key);
    return put_amount(key, line, at, end);
}

const byte *put_quoted(Reading *reading, const Key *key, int64_t line, const byte *at,
                       const byte *end)
{
    const byte *quote = end_of_plain(at, end);
    int64_t begin = reading->texts.size;

    if (quote < end && *quote == '"')
        return put_text(reading, key, line, at, quote) ? quote + 1 : NULL;
    if (key->kind == ATTRIBUTE || (key->kind == LESSER && !key->word_count)) {
        begin_member(reading, key);
        return append_json(&reading->objects, at, end);
    }
    if (key->kind != TEXT && key->kind != NAMED)
        return NULL;
    const Made *texts = &reading->texts;
    at = append_text(&reading->texts, at, end, true, false);
    if (key->kind == NAMED)
        return put_named(reading, key, line, texts->data + begin, texts->data + texts->size, texts)
                   ? at
                   : NULL;
    ((View *)key->out)[line] = made_view(texts, begin);
    return at;
}

/* Ends the object of a line, which often is the one of the line before: then both share it. */
static void end_object(Reading *reading, int64_t line)
{
    static const View NOTHING = {2, {"{}"}};
    Made *made = &reading->objects;
    const byte *begin = made->data + reading->object;
    const int64_t size = made->size + 1 - reading->object;

    if (made->size == reading->object) {
        reading->attributes[line] = NOTHING;
        return;
    }
    append(made, "}", 1);
    if (reading->object >= size && is_same(begin - size, begin, size)) {
        made->size = reading->object;
        reading->attributes[line] = view_of(begin - size, size, made->buffer, made->data);
    } else {
        reading->attributes[line] = made_view(made, reading->object);
    }
}

/* Whether the keys of the line mean what they were taken for. */
static bool are_right(const Reading *reading)
{
    const Tell *tell = reading->tells, *stop = tell + reading->tell_count;
    uint64_t lesser = reading->seen & reading->lesser;

    while (tell < stop && (reading->seen & tell->keys) != tell->keys)
        tell++;
    if (!(tell < stop ? tell->is_ours : reading->untold))
        return false;
    for (; lesser; lesser &= lesser - 1) {
        int64_t main = reading->keys[__builtin_ctzll(lesser)].main;
        if (!((reading->seen & ~reading->empty) >> main & 1))
            return false;
    }
    return true;
}

/* The most that is made of a line: see native/lines.py. */
static bool has_room(const Reading *reading, int64_t size)
{
    const Made *texts = &reading->texts, *objects = &reading->objects;

    return texts->room - texts->size >= size &&
           objects->room - objects->size >= 2 * size + reading->room;
}

/*
 * Reads the lines from number `first` to before `last`, of which line i is lines[starts[i]] to
 * before lines[starts[i + 1]], into the columns of up to 64 keys, or, of layouts, of any number.
 * `ok` is 1 for lines of which all is in the columns, 2 if their time is of no zone. 16 bytes
 * behind the room of `texts` and `objects`
 * may be written. Returns the number of the line for which there is not enough room any more.
 */
int64_t logwax_read(int64_t form, Reading *reading, const int64_t *starts, int64_t first,
                    int64_t last, byte *ok)
{
    int64_t line;

    for (line = first; line < last; line++) {
        const byte *at = reading->lines.data + starts[line];
        const byte *end = reading->lines.data + starts[line + 1];
        if (!has_room(reading, end - at))
            break;
        end -= end > at && end[-1] == '\n';
        end -= end > at && end[-1] == '\r';
        reading->object = reading->objects.size;
        reading->seen = reading->empty = 0;
        reading->likely = 0;
        reading->has_time = reading->timeless;
        reading->is_clock = false;
        bool is_read =
            FORMS[form](reading, line, at, end) && reading->has_time && are_right(reading);
        ok[line] = is_read ? 1 + reading->is_clock : 0;
        if (reading->attributes)
            end_object(reading, line);
    }
    return line;
}
