/* Lines to columns: what the formats have in common. */

#include "native.h"

static ReadLine *const FORMS[] = {
    [JSON] = read_json,
    [LOGFMT] = read_logfmt,
    [LAYOUT] = read_layout,
};

int64_t find_key(const Reading *reading, int64_t likely, const byte *at, const byte *end,
                 byte closing)
{
    for (int64_t tried = 0; tried < reading->key_count; tried++, likely++) {
        if (likely >= reading->key_count)
            likely = 0;
        const Key *key = &reading->keys[likely];
        if (end - at > key->size && at[key->size] == closing &&
            is_same(at, key->name + 1, key->size))
            return likely;
    }
    return -1;
}

bool put_time(Reading *reading, const Key *key, int64_t line, int64_t micros, bool is_zoned)
{
    ((int64_t *)key->out)[line] = micros;
    if (reading->zoned < 0)
        reading->zoned = is_zoned;
    return reading->zoned == is_zoned;
}

void begin_member(Reading *reading, const Key *key)
{
    Made *made = &reading->objects;

    append(made, made->size == reading->object ? "{" : ",", 1);
    append(made, key->name, key->size + 3);
}

bool append_member(Reading *reading, const Key *key, const byte *at, const byte *end)
{
    Made *made = &reading->objects;

    begin_member(reading, key);
    append(made, "\"", 1);
    for (;; at++) {
        const byte *stop = end_of_plain(at, end, '"');
        append(made, at, stop - at);
        at = stop;
        if (stop == end)
            break;
        if (*stop < ' ')
            return false;
        byte escaped[] = {'\\', *stop};
        append(made, escaped, sizeof escaped);
    }
    append(made, "\"", 1);
    return true;
}

bool put_moment(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end,
                ReadTime *read)
{
    int64_t size = end - at;

    if (!size || size != reading->time_size || !is_same(at, reading->time, size)) {
        reading->time_size = 0;
        if (!read(at, end, &reading->micros, &reading->is_zoned))
            return false;
        reading->time = at;
        reading->time_size = size;
    }
    return put_time(reading, key, line, reading->micros, reading->is_zoned);
}

bool put_meaning(Reading *reading, const Key *key, int64_t line, const byte *at, const byte *end)
{
    if (key->kind == ATTRIBUTE)
        return append_member(reading, key, at, end);
    if (key->kind == TIME)
        return put_moment(reading, key, line, at, end, read_moment);
    return put_amount(key, line, at, end);
}

const byte *put_quoted(Reading *reading, const Key *key, int64_t line, const byte *at,
                       const byte *end)
{
    const byte *quote = end_of_plain(at, end, '"');
    int64_t begin = reading->texts.size;

    if (quote < end && *quote == '"')
        return put_text(reading, key, line, at, quote) ? quote + 1 : NULL;
    if (key->kind == ATTRIBUTE) {
        begin_member(reading, key);
        return append_json(&reading->objects, at, end);
    }
    if (key->kind != TEXT)
        return NULL;
    at = append_text(&reading->texts, at, end, true, false);
    ((View *)key->out)[line] = made_view(&reading->texts, begin);
    return at;
}

static void end_object(Reading *reading, int64_t line)
{
    static const View NOTHING = {2, {"{}"}};
    Made *made = &reading->objects;

    if (reading->is_again) {
        reading->attributes[line] = reading->attributes[reading->last.line];
    } else if (made->size == reading->object) {
        reading->attributes[line] = NOTHING;
    } else {
        append(made, "}", 1);
        reading->attributes[line] = made_view(made, reading->object);
    }
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
 * before lines[starts[i + 1]], into the columns of up to 64 keys; lines of a layout by its steps.
 * `ok` says of which lines all is in the columns. `attributes` (NULL: no key is one) are in
 * `objects`, whose size says whether any line has one, texts with escapes in `texts`; 16 bytes
 * behind the room of both may be written. An object takes `room` beside two bytes for each of its
 * line. Returns the number of the line for which there is not enough room any more. `zoned` is
 * whether times carry their zone, -1 while none has told.
 */
int64_t logwax_read(int64_t form, const byte *lines, const int64_t *starts, int64_t first,
                    int64_t last, const Key *keys, int64_t key_count, const Step *steps,
                    int64_t step_count, int64_t room, View *attributes, Made *objects,
                    const Made *texts, int64_t *zoned, bool *ok)
{
    Reading reading = {
        .keys = keys,
        .key_count = key_count,
        .steps = steps,
        .step_count = step_count,
        .room = room,
        .attributes = attributes,
        .lines = {.data = (byte *)lines, .buffer = IN_LINES},
        .texts = *texts,
        .objects = *objects,
        .zoned = *zoned,
    };
    int64_t *times = NULL;
    int64_t line;

    for (int64_t key = 0; key < key_count; key++)
        if (keys[key].kind == TIME)
            times = keys[key].out;
    for (line = first; line < last; line++) {
        const byte *at = lines + starts[line], *end = lines + starts[line + 1];
        if (!has_room(&reading, end - at))
            break;
        end -= end > at && end[-1] == '\n';
        end -= end > at && end[-1] == '\r';
        if (times)
            times[line] = NO_TIME;
        reading.object = reading.objects.size;
        reading.is_again = false;
        ok[line] = FORMS[form](&reading, line, at, end) && times && times[line] != NO_TIME;
        if (attributes)
            end_object(&reading, line);
    }
    objects->size = reading.objects.size;
    *zoned = reading.zoned;
    return line;
}
