/* Times, as in flows/parsing/times.py, for the usual cases. */

#include "native.h"

static const int64_t MICROS = 1000000; /* of a second */

/* The years that a store can hold. */
enum { FIRST_YEAR = 1900, LAST_YEAR = 2299 };

bool is_storable(int64_t micros)
{
    const int64_t FIRST = -2208988800 * MICROS, LAST = 10413792000 * MICROS - 1;

    return FIRST <= micros && micros <= LAST;
}

static bool is_digit(const byte *at, const byte *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

bool read_digits(const byte *at, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        unsigned digit = at[i] - '0';
        if (digit > 9)
            return false;
        *value = *value * 10 + (int)digit;
    }
    return true;
}

/* Days since 1970 in the proleptic Gregorian calendar, in years that begin in March. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t m = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* What a time consists of: see native/lines.py; the first of them are numbers as they are. */
enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, SHORT_YEAR, PADDED_DAY, MONTH_NAME, WEEKDAY, HALF,
       FRACTION, DECIMALS, ZONE, ZONE_NAME, UNIX, SEPARATOR, MAYBE_ZONE };

enum { NUMBERS = SECOND + 1 };

/* Microseconds since 1970 of a year to a second; false if there is no such time. */
static bool micros_of(const int parts[NUMBERS], int64_t *micros)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int year = parts[YEAR], month = parts[MONTH], day = parts[DAY];
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    if (month < 1 || month > 12 || day < 1 || day > DAYS[month - 1] + (month == 2 && is_leap) ||
        parts[HOUR] > 23 || parts[MINUTE] > 59 || parts[SECOND] > 59)
        return false;
    int64_t minutes = (days_since_1970(year, month, day) * 24 + parts[HOUR]) * 60 + parts[MINUTE];
    *micros = (minutes * 60 + parts[SECOND]) * MICROS;
    return true;
}

/* A clock like 12:34:56. */
static bool read_clock(const byte *clock, int parts[NUMBERS])
{
    return clock[2] == ':' && clock[5] == ':' && read_digits(clock, 2, &parts[HOUR]) &&
           read_digits(clock + 3, 2, &parts[MINUTE]) && read_digits(clock + 6, 2, &parts[SECOND]);
}

static bool is_of_years(int year)
{
    return FIRST_YEAR <= year && year <= LAST_YEAR;
}

/* Subtracts `Z`, `+02`, `+0200` or `+02:00`, which is up to the end. */
static bool subtract_offset(const byte *at, const byte *end, int64_t *micros)
{
    int hours, minutes = 0;

    if (end - at == 1)
        return *at == 'Z' || *at == 'z';
    if (end - at < 3 || (*at != '+' && *at != '-') || !read_digits(at + 1, 2, &hours))
        return false;
    const byte *rest = at + 3;
    if (rest < end && *rest == ':')
        rest++;
    if (rest < end ? end - rest != 2 || !read_digits(rest, 2, &minutes) : rest != at + 3)
        return false;
    *micros -= (hours * 60 + minutes) * 60 * MICROS * (*at == '-' ? -1 : 1);
    return hours <= 23 && minutes <= 59 && is_storable(*micros);
}

/* Adds the digits of a fraction of a second. */
static const byte *add_digits(const byte *at, const byte *end, int64_t *micros)
{
    for (int64_t unit = MICROS / 10; is_digit(at, end); at++, unit /= 10)
        *micros += (*at - '0') * unit; /* what is finer than a microsecond is cut off */
    return at;
}

/* Adds the fraction of a second that is here, if one is; NULL if it has no digits. */
static const byte *add_fraction(const byte *at, const byte *end, int64_t *micros)
{
    if (at == end || (*at != '.' && *at != ','))
        return at;
    return is_digit(at + 1, end) ? add_digits(at + 1, end, micros) : NULL;
}

bool read_iso(const byte *at, const byte *end, int64_t *micros, bool *is_zoned)
{
    int parts[NUMBERS];

    if (end - at < 19 || at[4] != '-' || at[7] != '-' ||
        (at[10] != 'T' && at[10] != ' ' && at[10] != 't'))
        return false;
    if (!read_digits(at, 4, &parts[YEAR]) || !read_digits(at + 5, 2, &parts[MONTH]) ||
        !read_digits(at + 8, 2, &parts[DAY]) || !read_clock(at + 11, parts) ||
        !is_of_years(parts[YEAR]) || !micros_of(parts, micros))
        return false;
    bool has_space = at[10] == ' ';
    at = add_fraction(at + 19, end, micros);
    *is_zoned = at != end;
    if (at && has_space && end - at == 4 && !memcmp(at, " UTC", 4))
        return true;
    return at && (!*is_zoned || subtract_offset(at, end, micros));
}

static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char WEEKDAYS[] = "MonTueWedThuFriSatSun";

/* Which of these names of three letters is here, from 1 on; 0: none. */
static int number_of(const char *names, const byte *at)
{
    for (int number = 0; names[3 * number]; number++)
        if (!memcmp(at, names + 3 * number, 3))
            return number + 1;
    return 0;
}

/* What the numbers above literals are beside those of parts. */
enum { ABOVE_LITERALS = 128, JOINED = 64, EXACT = 32, PARTS = 31 };

/*
 * From `least` to `most` digits, behind which others are only if the code says so; NULL if they
 * are not here.
 */
static inline const byte *read_part(const byte *at, const byte *end, byte code, int least, int most,
                                    int *value)
{
    const byte *begin = at;

    for (*value = 0; at < begin + most && is_digit(at, end); at++)
        *value = *value * 10 + (*at - '0');
    return at - begin < least || (!(code & JOINED) && is_digit(at, end)) ? NULL : at;
}

/* Where an offset ends that is here, as `subtract_offset` takes it; NULL if none is. */
static const byte *end_of_offset(const byte *at, const byte *end)
{
    int hours, minutes;

    if (at < end && (*at == 'Z' || *at == 'z'))
        return at + 1;
    if (end - at < 3 || (*at != '+' && *at != '-') || !read_digits(at + 1, 2, &hours) || hours > 23)
        return NULL;
    at += 3;
    const byte *rest = at + (at < end && *at == ':');
    if (end - rest >= 2 && read_digits(rest, 2, &minutes) && minutes <= 59)
        at = rest + 2;
    return is_digit(at, end) ? NULL : at;
}

/* Where a name of a zone ends that is here; NULL if none is. */
static const byte *end_of_name(const byte *at, const byte *end)
{
    const byte *begin = at;

    while (at < end && *at >= 'A' && *at <= 'Z')
        at++;
    return at - begin >= 3 && at - begin <= 5 ? at : NULL;
}

/* Where a zone begins and ends that may be here, with a space before it; NULL if none is. */
static const byte *end_of_zone(const byte *at, const byte *end, const byte **begin, bool *is_name)
{
    bool is_apart = at < end && *at == ' ';
    const byte *stop;

    *begin = at += is_apart;
    *is_name = is_apart && end - at >= 3 && (!memcmp(at, "UTC", 3) || !memcmp(at, "GMT", 3));
    stop = *is_name ? at + 3 : end_of_offset(at, end);
    if (is_apart && stop && !*is_name && *at != 'Z' && stop - at < 5)
        return NULL;
    return stop && stop < end && (is_digit(stop, end) || (*stop | ' ') - 'a' < 26u) ? NULL : stop;
}

const byte *read_pattern(const byte *codes, const byte *at, const byte *end, int64_t *micros,
                         bool *is_zoned, bool *is_none, uint64_t *name)
{
    enum { YEARLESS = 4 };
    int parts[NUMBERS] = {[YEAR] = -1}, half = -1, short_year;
    int64_t fraction = 0, seconds = -1;
    const byte *zone = NULL, *begin, *stop = NULL; /* where the zone ends */
    bool is_name = false;

    *is_none = true;
    for (; *codes; codes++) {
        if (*codes < ABOVE_LITERALS) {
            if (at >= end || *at++ != *codes)
                return NULL;
            continue;
        }
        const int part = *codes & PARTS, least = *codes & EXACT ? 2 : 1;
        switch (part) {
        case YEAR:
            at = read_part(at, end, *codes, 4, 4, &parts[YEAR]);
            break;
        case SHORT_YEAR:
            at = read_part(at, end, *codes, 2, 2, &short_year);
            parts[YEAR] = short_year + (short_year >= 69 ? 1900 : 2000);
            break;
        case PADDED_DAY:
            at += at < end && *at == ' ';
            at = read_part(at, end, *codes, least, 2, &parts[DAY]);
            break;
        case MONTH:
        case DAY:
        case HOUR:
        case MINUTE:
        case SECOND:
            at = read_part(at, end, *codes, least, 2, &parts[part]);
            break;
        case MONTH_NAME:
            if (end - at < 3 || !(parts[MONTH] = number_of(MONTHS, at)))
                return NULL;
            at += 3;
            break;
        case WEEKDAY:
            if (end - at < 3 || !number_of(WEEKDAYS, at))
                return NULL;
            at += 3;
            break;
        case HALF:
            if (end - at < 2 || (at[1] | ' ') != 'm' ||
                ((at[0] | ' ') != 'a' && (at[0] | ' ') != 'p'))
                return NULL;
            half = (at[0] | ' ') == 'p';
            at += 2;
            break;
        case FRACTION:
            if (end - at < 2 || !is_digit(at + 1, end) || (*at == ',' && *codes & EXACT))
                break;
            at = add_fraction(at, end, &fraction);
            break;
        case DECIMALS:
            if (!is_digit(at, end))
                return NULL;
            at = add_digits(at, end, &fraction);
            break;
        case ZONE:
        case ZONE_NAME:
            zone = at;
            at = part == ZONE_NAME ? end_of_name(zone, end) : NULL;
            is_name = at;
            if (!at && (part == ZONE || *zone < 'A'))
                at = end_of_offset(zone, end);
            if (part == ZONE_NAME && zone < end && *zone >= 'A' && (!at || *at == '/')) {
                *is_none = false; /* it may be a region */
                return NULL;
            }
            stop = at;
            break;
        case SEPARATOR:
            if (at >= end || (*at != ' ' && *at != 'T' && *at != 't'))
                return NULL;
            at++;
            break;
        case MAYBE_ZONE:
            if ((stop = end_of_zone(at, end, &zone, &is_name)))
                at = stop;
            else
                zone = NULL, is_name = false;
            break;
        case UNIX:
            begin = at;
            for (seconds = 0; at < begin + 11 && is_digit(at, end); at++)
                seconds = seconds * 10 + (*at - '0');
            if (at == begin || is_digit(at, end))
                return NULL;
            break;
        }
        if (!at)
            return NULL;
    }
    *is_none = false;
    if (seconds >= 0) {
        *is_zoned = true;
        *micros = seconds * MICROS + fraction;
        return is_storable(*micros) ? at : NULL;
    }
    if (half >= 0) {
        if (parts[HOUR] < 1 || parts[HOUR] > 12)
            return NULL;
        parts[HOUR] = parts[HOUR] % 12 + 12 * half;
    }
    bool has_year = parts[YEAR] >= 0;
    if (!has_year)
        parts[YEAR] = YEARLESS;
    if ((has_year && !is_of_years(parts[YEAR])) || !micros_of(parts, micros))
        return NULL;
    *micros += fraction;
    *is_zoned = zone || !has_year; /* what has no year gets a zone with it */
    if (!is_name)
        return !zone || subtract_offset(zone, stop, micros) ? at : NULL;
    if (stop - zone != 3 || (memcmp(zone, "UTC", 3) && memcmp(zone, "GMT", 3))) {
        *is_zoned = false;
        memcpy(name, zone, stop - zone);
    }
    return at;
}
