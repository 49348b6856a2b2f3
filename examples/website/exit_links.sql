/* Where visitors go when they leave, and from which page. */
SELECT JSONExtractString(attributes, 'exit_link') AS exit_link, request_path AS page, count() AS clicks
FROM logs
WHERE JSONExtractString(attributes, 'event_name') = 'event.exit'
GROUP BY exit_link, page
ORDER BY clicks DESC, exit_link, page
