/* Each day: pages that were viewed, visits (one ends after 30 quiet minutes), visitors, and how many of
   them were there for the first time within six months. */
SELECT
    toDate(timestamp) AS day,
    count() AS page_views,
    countIf(is_begin) AS visits,
    uniqExact(visitor) AS visitors,
    uniqExactIf(visitor, is_first) AS first_time_visitors
FROM (
    SELECT
        timestamp,
        JSONExtractString(attributes, 'visitor') AS visitor,
        JSONExtractBool(attributes, 'first_time_visit') AS is_first,
        timestamp - lagInFrame(timestamp, 1, timestamp - INTERVAL 1 DAY) OVER (
            PARTITION BY visitor ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) > 1800 AS is_begin
    FROM logs
    WHERE method = 'GET' AND JSONHas(attributes, 'visitor')
)
GROUP BY day
ORDER BY day
