/* How far each visitor is with each tutorial, and with its course, in percent of the tutorials that anybody
   has opened. A tutorial is complete from 80 % on, unless the visitor marked it: then the last mark holds.
   `continue_at` is the second at which the video goes on. */
SELECT visitor, tutorial, visits, minutes_watched, continue_at, is_complete, course_percent
FROM (
    SELECT
        *,
        intDiv(
            100 * countIf(is_complete) OVER (PARTITION BY visitor, course, language),
            uniqExact(tutorial) OVER (PARTITION BY course, language)
        ) AS course_percent
    FROM (
        SELECT
            customer_id AS visitor,
            request_path AS tutorial,
            splitByChar('/', request_path)[3] AS course,
            splitByChar('/', request_path)[5] AS language,
            countIf(name = 'event.video.watch') AS visits,
            uniqExactIf(intDiv(second, 60), name = 'event.tutorial.progress') AS minutes_watched,
            argMaxIf(second, timestamp, name = 'event.tutorial.progress') AS continue_at,
            if(
                countIf(name = 'event.tutorial.completion') > 0,
                argMaxIf(completed, timestamp, name = 'event.tutorial.completion'),
                countIf(length > 0 AND second >= 0.8 * length) > 0
            ) AS is_complete
        FROM (
            SELECT
                customer_id, request_path, timestamp,
                JSONExtractString(attributes, 'event_name') AS name,
                JSONExtractInt(attributes, 'second') AS second,
                JSONExtractInt(attributes, 'length') AS length,
                JSONExtractBool(attributes, 'completed') AS completed
            FROM logs
            WHERE startsWith(request_path, '/watch/')
        )
        WHERE name != ''
        GROUP BY visitor, tutorial
    )
)
WHERE visitor != 'anonymous'
ORDER BY visitor, tutorial
