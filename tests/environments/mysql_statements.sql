-- Statements that MariaDB and our database must answer alike; one a line. `people` has text columns
-- only, as AgentBench's tables; `parts` has typed ones.
-- section: rows
SELECT * FROM people
SELECT name FROM people WHERE city = 'zurich'
SELECT name FROM people WHERE city = 'ZÜRICH' ORDER BY name
SELECT name FROM people WHERE name = 'jose garcia'
SELECT name FROM people WHERE age > 30 ORDER BY name
SELECT name FROM people WHERE age >= '30' ORDER BY name
SELECT name FROM people WHERE age = 41
SELECT name FROM people WHERE age = 041.0
SELECT name FROM people WHERE 41 = age
SELECT name FROM people WHERE age <> 41 ORDER BY name
SELECT name FROM people WHERE age != 41 ORDER BY name
SELECT name FROM people WHERE age BETWEEN 20 AND 40 ORDER BY name
SELECT name FROM people WHERE age NOT BETWEEN 20 AND 40 ORDER BY name
SELECT name FROM people WHERE age BETWEEN '2' AND '4' ORDER BY name
SELECT name FROM people WHERE age IN (41, 29) ORDER BY name
SELECT name FROM people WHERE age NOT IN (41, 29) ORDER BY name
SELECT name FROM people WHERE age IN ('41', 29) ORDER BY name
SELECT name FROM people WHERE city IN ('zurich', 'OSLO') ORDER BY name
SELECT name FROM people WHERE city NOT IN ('zurich', 'OSLO') ORDER BY name
SELECT name FROM people WHERE salary > 1000 ORDER BY name
SELECT name FROM people WHERE salary + 0 > 1000 ORDER BY name
SELECT name FROM people WHERE note IS NULL
SELECT name FROM people WHERE note IS NOT NULL ORDER BY name
SELECT name FROM people WHERE note <=> NULL
SELECT name FROM people WHERE note = ''
SELECT name FROM people WHERE note ORDER BY name
SELECT name FROM people WHERE NOT note ORDER BY name
SELECT name FROM people WHERE name LIKE 'j%' ORDER BY name
SELECT name FROM people WHERE name LIKE '%é%' ORDER BY name
SELECT name FROM people WHERE name LIKE '_osé%'
SELECT name FROM people WHERE note LIKE '%\%%'
SELECT name FROM people WHERE note LIKE '%\\_%'
SELECT name FROM people WHERE note LIKE '%|%%' ESCAPE '|'
SELECT name FROM people WHERE name NOT LIKE 'j%' ORDER BY name
SELECT name FROM people WHERE name REGEXP '^[a-j]' ORDER BY name
SELECT name FROM people WHERE name NOT REGEXP '^[a-j]' ORDER BY name
SELECT name FROM people WHERE name RLIKE 'son$' ORDER BY name
SELECT name FROM people WHERE joined > '2019-01-01' ORDER BY name
SELECT name FROM people WHERE joined > 2018 ORDER BY name
SELECT name FROM people WHERE YEAR(joined) = 2019 ORDER BY name
SELECT name FROM people WHERE YEAR(joined) = '2019' ORDER BY name
SELECT name FROM people WHERE joined BETWEEN '2018-01-01' AND '2019-12-31' ORDER BY name
SELECT name FROM people ORDER BY age, name
SELECT name FROM people ORDER BY age + 0, name
SELECT name FROM people ORDER BY age * 1 DESC, name
SELECT name FROM people ORDER BY -age, name
SELECT name FROM people ORDER BY CAST(age AS SIGNED), name
SELECT name FROM people ORDER BY CAST(salary AS DECIMAL(10,2)) DESC, name
SELECT name FROM people ORDER BY LENGTH(name), name
SELECT name FROM people ORDER BY name
SELECT name FROM people ORDER BY name DESC
SELECT name, city FROM people ORDER BY 2, 1
SELECT city FROM people GROUP BY city ORDER BY city
SELECT name AS n FROM people ORDER BY n LIMIT 2
SELECT name FROM people ORDER BY name LIMIT 2 OFFSET 1
SELECT name FROM people ORDER BY name LIMIT 1, 2
SELECT name FROM people ORDER BY note, name
SELECT name FROM people ORDER BY note DESC, name
SELECT COUNT(*) FROM people
SELECT COUNT(note) FROM people
SELECT COUNT(DISTINCT city) FROM people
SELECT COUNT(DISTINCT name, city) FROM people
SELECT SUM(age) FROM people
SELECT SUM(salary) FROM people
SELECT AVG(age) FROM people
SELECT AVG(age) FROM people WHERE city = 'nowhere'
SELECT SUM(age), COUNT(*) FROM people WHERE city = 'nowhere'
SELECT MIN(age), MAX(age) FROM people
SELECT MIN(name), MAX(name) FROM people
SELECT MAX(CAST(age AS UNSIGNED)) FROM people
SELECT MAX(age + 0) FROM people
SELECT ROUND(AVG(age), 2) FROM people
SELECT STDDEV(age), VARIANCE(age) FROM people
SELECT STDDEV_SAMP(age), VAR_SAMP(age) FROM people
SELECT city, COUNT(*) FROM people GROUP BY city ORDER BY COUNT(*) DESC, city
SELECT LOWER(city), COUNT(*) FROM people GROUP BY LOWER(city) ORDER BY COUNT(*) DESC, LOWER(city)
SELECT city, COUNT(*) AS n FROM people GROUP BY city HAVING n > 1
SELECT city, COUNT(*) AS n FROM people GROUP BY city HAVING COUNT(*) > 1 AND city <> 'Oslo'
SELECT city, AVG(age) AS mean FROM people GROUP BY city HAVING mean > 30 ORDER BY mean
SELECT name, age * 2 AS twice FROM people HAVING twice > 70 ORDER BY name
SELECT name AS n FROM people HAVING n LIKE 'a%' ORDER BY n
SELECT YEAR(joined) AS y, COUNT(*) FROM people GROUP BY y ORDER BY y
SELECT city, GROUP_CONCAT(name ORDER BY name SEPARATOR '; ') FROM people GROUP BY city ORDER BY city
SELECT GROUP_CONCAT(DISTINCT city ORDER BY city DESC) FROM people
SELECT GROUP_CONCAT(age ORDER BY age + 0) FROM people
SELECT GROUP_CONCAT(name, '=', age ORDER BY name) FROM people
SELECT DISTINCT city FROM people ORDER BY city
SELECT DISTINCT LEFT(joined, 4) FROM people ORDER BY 1
SELECT COUNT(*) FROM (SELECT DISTINCT city FROM people) AS c
SELECT name FROM people WHERE age = (SELECT MAX(age) FROM people)
SELECT name FROM people WHERE age > (SELECT AVG(age) FROM people) ORDER BY name
SELECT name FROM people WHERE age + 0 = (SELECT MAX(age + 0) FROM people)
SELECT name FROM people WHERE city IN (SELECT city FROM people GROUP BY city HAVING COUNT(*) > 1) ORDER BY name
SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM people q WHERE q.city = p.city AND q.name <> p.name) ORDER BY name
SELECT p.name, q.label FROM people p JOIN parts q ON p.age = q.size ORDER BY p.name
SELECT p.name, q.label FROM people p LEFT JOIN parts q ON p.age = q.size ORDER BY p.name
SELECT p.name FROM people p, people q WHERE p.city = q.city AND p.name < q.name ORDER BY 1
SELECT name FROM people UNION SELECT label FROM parts ORDER BY 1
SELECT city FROM people UNION ALL SELECT city FROM people ORDER BY 1
SELECT name, RANK() OVER (ORDER BY age + 0 DESC) AS r FROM people ORDER BY r, name
SELECT city, name, ROW_NUMBER() OVER (PARTITION BY city ORDER BY name) FROM people ORDER BY city, name
SELECT name, LAG(name) OVER (ORDER BY name) FROM people ORDER BY name
SELECT name, SUM(age) OVER (PARTITION BY city) FROM people ORDER BY name
WITH old AS (SELECT * FROM people WHERE age > 30) SELECT COUNT(*) FROM old
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT SUM(i) FROM n
SELECT name, CASE WHEN age > 30 THEN 'old' ELSE 'young' END FROM people ORDER BY name
SELECT name, CASE city WHEN 'zürich' THEN 1 WHEN 'OSLO' THEN 2 END FROM people ORDER BY name
SELECT name, IF(age > 30, 'old', 'young') FROM people ORDER BY name
SELECT name, IFNULL(note, 'none') FROM people ORDER BY name
SELECT name, COALESCE(note, city) FROM people ORDER BY name
SELECT name, NULLIF(city, 'oslo') FROM people ORDER BY name
SELECT name, GREATEST(age, 30), LEAST(age, 30) FROM people ORDER BY name
SELECT name FROM people WHERE BINARY city = 'oslo'
SELECT name FROM people WHERE city = BINARY 'Oslo'
SELECT name FROM people WHERE (city, age) IN (('Oslo', '29'), ('Paris', '41')) ORDER BY name
SELECT `name`, `people`.`age` FROM `people` ORDER BY `name`
SELECT name FROM people WHERE salary LIKE '1,%' ORDER BY name
SELECT SUM(REPLACE(salary, ',', '')) FROM people
SELECT SUM(CAST(REPLACE(salary, ',', '') AS DECIMAL(10,2))) FROM people
SELECT name FROM people WHERE CAST(REPLACE(salary, ',', '') AS UNSIGNED) > 1000 ORDER BY name
SELECT AVG(CAST(age AS DECIMAL(5,1))) FROM people
SELECT name FROM people WHERE STR_TO_DATE(joined, '%Y-%m-%d') > '2019-02-01' ORDER BY name
SELECT MONTHNAME(joined) AS m, COUNT(*) FROM people GROUP BY m ORDER BY m
SELECT MIN(CHAR_LENGTH(name)), MAX(LENGTH(name)) FROM people
SELECT name FROM people WHERE TRUE ORDER BY name LIMIT 1
SELECT COUNT(*) FROM people WHERE FALSE
SELECT SUM(age > 30) FROM people
SELECT SUM(city = 'oslo') FROM people
SELECT COUNT(IF(age > 30, 1, NULL)) FROM people
SELECT label FROM parts WHERE size > '10' ORDER BY label
SELECT label FROM parts WHERE size = '12'
SELECT label FROM parts WHERE size = '12 mm'
SELECT label FROM parts WHERE price > 2.4 ORDER BY label
SELECT label, size / 5, size DIV 5, size % 5 FROM parts ORDER BY label
SELECT label, price * size FROM parts ORDER BY label
SELECT AVG(size), AVG(price) FROM parts
SELECT label FROM parts WHERE size IN ('12', '7') ORDER BY label
SELECT label FROM parts ORDER BY size DESC
SELECT label FROM parts WHERE size > (SELECT AVG(age) FROM people) ORDER BY label
SELECT label FROM parts WHERE size IN (SELECT age FROM people) ORDER BY label
SELECT name FROM people WHERE age IN (SELECT size FROM parts) ORDER BY name
SELECT label, FORMAT(price, 1) FROM parts ORDER BY label
SELECT label, LPAD(size, 5, '0') FROM parts ORDER BY label
SELECT CONCAT(label, ' (', size, ')') FROM parts ORDER BY label
SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name
SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'people' AND table_schema = DATABASE()
SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'people' AND table_schema = DATABASE() ORDER BY ordinal_position
SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'parts' AND TABLE_SCHEMA = DATABASE() ORDER BY ORDINAL_POSITION
SHOW TABLES
SHOW TABLES LIKE 'peo%'
DESCRIBE people
DESC people
SHOW COLUMNS FROM people
SHOW COLUMNS FROM people LIKE 'a%'
SHOW INDEX FROM people
-- section: values
SELECT 1 = '1', '1' = 1, 1 = '1a', 0 = 'a', '' = 0, NULL = 1, NULL <=> NULL, 1 <=> '1'
SELECT 'a' = 'A', 'é' = 'e', 'ü' = 'U', 'ñ' = 'N', 'a' = 'b', 'a' < 'B', 'Z' > 'a'
SELECT '10' < '9', 10 < '9', '10' < 9, '1e1' = 10, ' 7' = 7
SELECT 'abc' + 1, '12 km' + 1, '1.5' * 2, '-3' - 1, 'x' * 2
SELECT 5 / 2, 6 / 3, 1 / 3, 7 DIV 2, -7 DIV 2, 7 % 3, -7 % 3, 5.5 % 2, 7 MOD 2, MOD(-5, 3)
SELECT 1 / 0, 1 DIV 0, 1 % 0, MOD(1, 0)
SELECT 1 AND 0, 1 OR 0, NOT 1, 1 XOR 1, 1 XOR 0, NULL AND 0, NULL OR 1
SELECT 'a' || 'b', '1' || '0'
SELECT TRUE, FALSE, TRUE + TRUE, NOT FALSE
SELECT 3 BETWEEN 1 AND 5, 'b' BETWEEN 'A' AND 'C', '3' BETWEEN 1 AND 5
SELECT 2 IN (1, 2), '2' IN (1, 2), 'B' IN ('a', 'b'), 3 NOT IN (1, 2), NULL IN (1)
SELECT LENGTH('abc'), LENGTH('ü'), LENGTH('日本'), CHAR_LENGTH('ü'), CHARACTER_LENGTH('日本'), LENGTH(''), LENGTH(NULL), LENGTH(123)
SELECT CONCAT('a', 1, 'b'), CONCAT('a', NULL), CONCAT('x'), CONCAT(1.5, '-', 2)
SELECT CONCAT_WS('-', 'a', NULL, 'b'), CONCAT_WS(NULL, 'a'), CONCAT_WS(', ', 'x'), CONCAT_WS('-', 1, 2)
SELECT SUBSTRING('abcdef', 2), SUBSTRING('abcdef', 2, 3), SUBSTRING('abcdef', -3), SUBSTRING('abcdef', -3, 2), SUBSTRING('abc', 0), SUBSTRING('abc', 5)
SELECT SUBSTR('abcdef' FROM 2), SUBSTRING('abcdef' FROM 2 FOR 3), MID('abcdef', 2, 2)
SELECT LEFT('abc', 2), LEFT('abc', 9), LEFT('abc', 0), RIGHT('abc', 2), RIGHT('abc', 0), RIGHT('abc', 9), LEFT('abc', -1)
SELECT SUBSTRING_INDEX('a.b.c', '.', 1), SUBSTRING_INDEX('a.b.c', '.', 2), SUBSTRING_INDEX('a.b.c', '.', -1), SUBSTRING_INDEX('a.b.c', 'x', 1), SUBSTRING_INDEX('a.b.c', '.', 0)
SELECT LPAD('5', 3, '0'), LPAD('abcd', 2, 'x'), LPAD('a', 5, 'xy'), RPAD('a', 5, 'xy'), RPAD('abc', 2, 'x'), LPAD(7, 2, 0)
SELECT TRIM('  a '), LTRIM('  a'), RTRIM('a  '), TRIM(BOTH 'x' FROM 'xxaxx'), TRIM(LEADING 'x' FROM 'xxaxx'), TRIM(TRAILING 'x' FROM 'xxaxx'), TRIM('x' FROM 'xax')
SELECT UPPER('straße'), LOWER('ÀÉ'), UPPER('äöü'), UCASE('a'), LCASE('A')
SELECT REPLACE('aXbXc', 'X', '-'), REPLACE('abc', 'B', '-'), REPLACE('aaa', 'a', 'bb'), REPLACE('a', '', 'x'), REPLACE(NULL, 'a', 'b')
SELECT REVERSE('abc'), REPEAT('ab', 3), REPEAT('ab', 0), SPACE(3), REVERSE('日本')
SELECT LOCATE('b', 'abcb'), LOCATE('B', 'abc'), LOCATE('x', 'abc'), LOCATE('b', 'abcb', 3), INSTR('abc', 'C'), POSITION('b' IN 'abc'), LOCATE('', 'abc')
SELECT INSERT('Quadratic', 3, 4, 'What'), INSERT('Quadratic', -1, 4, 'What'), INSERT('Quadratic', 3, 100, 'What')
SELECT FIELD('b', 'a', 'b'), FIELD('x', 'a'), ELT(2, 'a', 'b'), ELT(3, 'a', 'b'), FIND_IN_SET('b', 'a,b,c'), FIND_IN_SET('x', 'a,b')
SELECT STRCMP('a', 'b'), STRCMP('b', 'a'), STRCMP('a', 'A'), ASCII('A'), ASCII(''), ORD('A'), CHAR(72, 105 USING utf8mb4)
SELECT FORMAT(1234567.891, 2), FORMAT(1234.5, 0), FORMAT(0.5, 1), FORMAT('12', 2)
SELECT HEX('abc'), HEX(255), BIN(5), MD5('a'), SHA1('a'), QUOTE('it''s')
SELECT ROUND(2.5), ROUND(-2.5), ROUND(1.005, 2), ROUND(123.456, -1), ROUND(123.456, 1), ROUND('2.5'), ROUND(1.45, 1), ROUND(NULL)
SELECT TRUNCATE(1.999, 1), TRUNCATE(-1.999, 1), TRUNCATE(122, -2), TRUNCATE(1.15, 2), TRUNCATE(10.28 * 100, 0), TRUNCATE(5, 0)
SELECT FLOOR(1.7), FLOOR(-1.2), CEIL(1.2), CEILING(-1.7), ABS(-3), ABS('-2'), SIGN(-3), SIGN(0), SIGN('x')
SELECT POW(2, 3), POWER(2, -1), SQRT(16), SQRT(-1), EXP(0), LN(1), LOG(2, 8), LOG10(100), LOG2(8), LOG(-1)
SELECT GREATEST(1, 2, 3), LEAST(1, 2), GREATEST('a', 'B'), LEAST('10', '9'), GREATEST(1, NULL), GREATEST('10', 9)
SELECT PI(), DEGREES(PI()), SIN(0), COS(0)
SELECT CAST('12.7' AS SIGNED), CAST(12.7 AS SIGNED), CAST('abc' AS SIGNED), CAST('-5' AS SIGNED), CAST('7 km' AS UNSIGNED)
SELECT CAST('12.756' AS DECIMAL(10,2)), CAST('12.5' AS DECIMAL), CAST(7 AS CHAR), CAST('abc' AS CHAR(2)), CAST('1.5' AS DOUBLE)
SELECT CAST('2020-01-05 10:11:12' AS DATE), CAST('2020-01-05' AS DATETIME), CAST('10:11:12' AS TIME)
SELECT CONVERT('12', SIGNED), CONVERT(12, CHAR), CONVERT('x' USING utf8mb4)
SELECT IF(1, 'a', 'b'), IF(0, 'a', 'b'), IF(NULL, 'a', 'b'), IF('x', 'a', 'b'), IFNULL(NULL, 2), NULLIF(1, 1), NULLIF('a', 'A'), NULLIF(1, 2), ISNULL(NULL), ISNULL(1)
SELECT COALESCE(NULL, NULL, 3), COALESCE(NULL)
SELECT 'abc' REGEXP '^A', 'abc' REGEXP 'd', 'a1' REGEXP '[[:digit:]]', 'abc' RLIKE 'b.', NULL REGEXP 'a', 'foo bar' REGEXP '\\bbar'
SELECT REGEXP_REPLACE('a1b22', '[0-9]+', '-'), REGEXP_REPLACE('abc', 'B', 'x'), REGEXP_SUBSTR('ab12cd', '[0-9]+'), REGEXP_INSTR('abc', 'c')
SELECT 'abc' LIKE 'A%', 'abc' LIKE '_b_', 'a%c' LIKE 'a\%c', 'abc' LIKE 'a\%c', 'é' LIKE 'e', 'abc' NOT LIKE 'x%'
SELECT 'it''s', "say ""hi""", 'a\'b', 'a\\b', "it's"
SELECT 'a' 'b'
SELECT YEAR('2020-03-05'), MONTH('2020-03-05'), DAY('2020-03-05'), DAYOFMONTH('2020-03-05'), QUARTER('2020-05-01'), YEAR('x'), MONTH('2020-3-5')
SELECT DAYNAME('2020-03-05'), MONTHNAME('2020-03-05'), DAYOFWEEK('2020-03-05'), WEEKDAY('2020-03-05'), DAYOFYEAR('2020-03-05'), WEEK('2020-03-05'), LAST_DAY('2020-02-03'), WEEKOFYEAR('2020-03-05')
SELECT HOUR('10:11:12'), MINUTE('2020-03-05 10:11:12'), SECOND('10:11:12'), TIME('2020-03-05 10:11:12'), DATE('2020-03-05 10:11:12')
SELECT DATEDIFF('2020-03-05', '2020-03-01'), DATEDIFF('2020-01-01', '2020-12-31'), DATEDIFF('x', '2020-01-01')
SELECT DATE_ADD('2020-01-31', INTERVAL 1 MONTH), DATE_SUB('2020-03-31', INTERVAL 1 MONTH), DATE_ADD('2020-02-28', INTERVAL 2 DAY), DATE_ADD('2020-01-01 10:00:00', INTERVAL 90 MINUTE), DATE_ADD('2020-01-01', INTERVAL 1 YEAR)
SELECT '2020-01-01' + INTERVAL 1 WEEK, '2020-01-01' - INTERVAL 1 DAY, ADDDATE('2020-01-01', 5), SUBDATE('2020-01-10', INTERVAL 5 DAY)
SELECT DATE_FORMAT('2020-03-05', '%d/%m/%Y'), DATE_FORMAT('2020-03-05 14:05:09', '%W, %M %D %y %h:%i %p'), DATE_FORMAT('2020-03-05', '%b %e'), DATE_FORMAT('2020-03-05', '%a %j %c')
SELECT STR_TO_DATE('05/03/2020', '%d/%m/%Y'), STR_TO_DATE('March 5, 2020', '%M %d, %Y'), STR_TO_DATE('x', '%Y'), STR_TO_DATE('5-Mar-20', '%d-%b-%y'), STR_TO_DATE('2020-03-05 10:11:12', '%Y-%m-%d %H:%i:%s')
SELECT TIMESTAMPDIFF(YEAR, '2000-06-15', '2020-06-14'), TIMESTAMPDIFF(MONTH, '2020-01-31', '2020-02-29'), TIMESTAMPDIFF(DAY, '2020-01-01', '2020-03-01'), TIMESTAMPDIFF(HOUR, '2020-01-01', '2020-01-02 05:00:00')
SELECT EXTRACT(YEAR FROM '2020-03-05'), EXTRACT(MONTH FROM '2020-03-05'), EXTRACT(DAY FROM '2020-03-05'), EXTRACT(YEAR_MONTH FROM '2020-03-05')
SELECT MAKEDATE(2020, 60), TO_DAYS('2020-01-01'), SEC_TO_TIME(3661), TIME_TO_SEC('01:01:01')
SELECT DATE('2020-13-45'), DATE(''), DATE(NULL), MONTH('March')
SELECT LENGTH(NOW()), LENGTH(CURDATE()), LENGTH(CURRENT_DATE), NOW() > '2020-01-01', YEAR(NOW()) > 2020, LENGTH(CURRENT_TIMESTAMP), LENGTH(CURTIME())
SELECT CASE 2 WHEN 1 THEN 'a' WHEN '2' THEN 'b' ELSE 'c' END, CASE WHEN NULL THEN 1 ELSE 2 END, CASE 'A' WHEN 'a' THEN 1 END
SELECT 1 IS TRUE, NULL IS NULL, 0 IS FALSE, 'a' IS NOT NULL
SELECT (SELECT 1), (SELECT MAX(age) FROM people), EXISTS (SELECT 1 FROM people WHERE age > 100)
SELECT SUM(x) FROM (SELECT 1 AS x UNION ALL SELECT 2) AS t
SELECT COUNT(*) FROM people WHERE name LIKE '%'
SELECT DISTINCT UPPER(city) FROM people ORDER BY 1
SELECT name n FROM people WHERE name = 'anna' OR name = 'BOB' ORDER BY n
SELECT 0.1 + 0.2, 1.10, 3.0, 1e3, .5, -0.5
SELECT DATABASE() IS NOT NULL, VERSION() IS NOT NULL, USER() IS NOT NULL
SELECT CHAR_LENGTH(CONCAT(name, city)) FROM people ORDER BY name
SELECT SUBSTRING_INDEX(name, ' ', 1), SUBSTRING_INDEX(name, ' ', -1) FROM people ORDER BY name
SELECT CAST(SUBSTRING_INDEX(joined, '-', 1) AS UNSIGNED) + 1 FROM people ORDER BY name
SELECT DATE_FORMAT(joined, '%M %Y'), DATEDIFF('2020-01-01', joined) FROM people ORDER BY name
-- section: refused
SELECT * FROM "people"
SELECT * FROM 'people'
UPDATE "people" SET age = 1
INSERT INTO "people" VALUES (1)
DELETE FROM 'people'
SELECT [name] FROM people
SELECT name FROM people WHERE [age] > 3
SELECT name FROM [people]
SELECT age::int FROM people
SELECT age::text FROM people
SELECT name FROM people WHERE name ILIKE 'a%'
SELECT name FROM people WHERE name GLOB 'a*'
SELECT * FROM sqlite_master
SELECT name FROM sqlite_schema
SELECT * FROM pragma_table_info('people')
PRAGMA table_info(people)
SELECT strftime('%Y', joined) FROM people
SELECT julianday(joined) FROM people
SELECT date('now', '-1 day')
SELECT printf('%d', 1)
SELECT iif(1, 2, 3)
SELECT total(age) FROM people
SELECT typeof(age) FROM people
SELECT sqlite_version()
SELECT rowid FROM people
SELECT my_concat('a', 'b')
SELECT my_number('5')
SELECT group_concat(name, '; ') x, rowid FROM people
SELECT name FROM people WHERE nothing = 1
SELECT nothing FROM people
SELECT `nothing` FROM people
SELECT "x".name FROM people
SELECT name FROM nowhere
SELECT name FROM People
SELECT p.name FROM people AS q
SELECT age + 1 AS older FROM people WHERE older > 30
SELECT name, MAX(age) FROM people
SELECT name, age FROM people GROUP BY name
SELECT city, name, COUNT(*) FROM people GROUP BY city
SELECT * FROM people GROUP BY city
SELECT name FROM people LIMIT -1
SELECT TOP 3 name FROM people
SELECT name FROM people FULL OUTER JOIN parts ON name = label
SELECT name FROM people ORDER BY name NULLS LAST
SELECT DISTINCT ON (city) name FROM people
SELECT COUNT(*) FILTER (WHERE age > 30) FROM people
SELECT name FROM people QUALIFY ROW_NUMBER() OVER (ORDER BY name) = 1
INSERT INTO people VALUES ('x') ON CONFLICT DO NOTHING
INSERT INTO people (name) VALUES ('x', 'y')
INSERT INTO people (name, nothing) VALUES ('x', 'y')
INSERT INTO people VALUES ('x', 'y')
UPDATE people SET nothing = 1
UPDATE people SET age = 1 WHERE nothing = 2
UPDATE people SET age = 1 WHERE city > 5
UPDATE people SET salary = salary * 2
DELETE FROM nowhere
SELECT name FROM
SELECT FROM people
SELECT name people WHERE age
SELEC name FROM people
SELECT name FROM people WHERE
SELECT name,, age FROM people
SELECT (name FROM people
SELECT name FROM people WHERE name == 'Anna' 'x' y
hello
ATTACH DATABASE 'x' AS y
VACUUM
DESCRIBE nowhere
SHOW COLUMNS FROM nowhere
SHOW CREATE TABLE nowhere
SELECT * FROM information_schema.nothing
CREATE TABLE people (a INT)
DROP TABLE nowhere
ALTER TABLE nowhere ADD COLUMN x TEXT
SELECT COUNT(*) FROM people WHERE COUNT(*) > 1
SELECT * FROM people WHERE name = ANY ARRAY['a']
SELECT EXTRACT(EPOCH FROM joined) FROM people
SELECT name FROM people FETCH FIRST 2 ROWS
SELECT COUNT(name, city) FROM people
SELECT SUM() FROM people
SELECT CONCAT() FROM people
-- section: changes
INSERT INTO people VALUES ('New', '1', 'Bern', '5', NULL, '2020-01-01')
INSERT INTO people (name, age) VALUES ('New', '1')
INSERT INTO people (`name`, `age`) VALUES ("New", 1), ("Other", 2.5)
INSERT INTO people SET name = 'New', age = 3
INSERT INTO people (name, age) SELECT label, size FROM parts
INSERT INTO people (name, note) VALUES ('it''s', "say ""x""")
INSERT INTO people (name) VALUES ('a\'b')
UPDATE people SET age = '50'
UPDATE people SET age = 50 WHERE name = 'anna'
UPDATE people SET age = age + 1
UPDATE people SET age = age + 1, note = age
UPDATE people SET age = 7, salary = age + 1, note = salary
UPDATE people SET city = name, name = city
UPDATE people SET city = UPPER(city) WHERE age > 30
UPDATE people SET note = CONCAT(name, '-', city)
UPDATE people SET note = NULL WHERE note = ''
UPDATE people SET age = 1 WHERE city LIKE 'z%'
UPDATE people SET age = 1 ORDER BY name LIMIT 2
UPDATE people SET age = 1 WHERE age > 20 ORDER BY age + 0 DESC LIMIT 1
UPDATE people SET note = IF(age > 30, 'old', 'young')
UPDATE people SET note = CASE WHEN age > 30 THEN 'old' ELSE 'young' END, age = 1
UPDATE people p SET p.age = 3 WHERE p.name = 'Bob Stone'
UPDATE people SET salary = REPLACE(salary, ',', '')
UPDATE people SET salary = ROUND(REPLACE(salary, ',', '') * 1.1, 1)
UPDATE people SET joined = DATE_ADD(joined, INTERVAL 1 YEAR)
UPDATE people SET age = 1 WHERE name IN ('anna', 'BOB')
UPDATE people SET age = 1 WHERE note IS NULL
UPDATE people SET age = (SELECT MAX(size) FROM parts)
UPDATE people SET age = 1 WHERE age = (SELECT MAX(size) FROM parts)
DELETE FROM people
DELETE FROM people WHERE name = 'ANNA'
DELETE FROM people WHERE age < 30
DELETE FROM people WHERE city = 'Zurich' AND age > 30
DELETE FROM people ORDER BY name LIMIT 1
DELETE FROM people LIMIT 100
DELETE FROM people WHERE note IS NULL OR note = ''
TRUNCATE TABLE people
TRUNCATE people
ALTER TABLE people ADD COLUMN extra TEXT
ALTER TABLE people DROP COLUMN note
ALTER TABLE people RENAME COLUMN note TO remark
INSERT IGNORE INTO people (name) VALUES ('New')
REPLACE INTO people (name) VALUES ('New')
UPDATE parts SET size = size + 1
UPDATE parts SET size = size * 2, price = size
UPDATE parts SET size = '15' WHERE label = 'nut'
UPDATE parts SET price = price * 1.5 WHERE size > 7
INSERT INTO parts VALUES ('screw', 3, 0.5)
INSERT INTO parts (label, size) VALUES ('screw', '3')
DELETE FROM parts WHERE price < 1
INSERT INTO people (name, age, salary) VALUES ('A', 12.50, .5), ('B', -1.50, 100), ('C', 1.0, 007)
INSERT INTO people (name, salary) VALUES ('A', 5 + 5), ('B', CONCAT(1, 2))
UPDATE people SET salary = 12.50 WHERE name = 'Anna Berg'
UPDATE people SET salary = REPLACE(salary, ',', '') * 2
UPDATE people SET age = age * 2, salary = age - 1
UPDATE people SET age = age / 2
UPDATE people SET age = age * 1.5, note = age
UPDATE people SET age = 1000000 * 3, salary = -0.50
UPDATE people SET salary = CAST(REPLACE(salary, ',', '') AS DECIMAL(10,2)) WHERE age > 30
UPDATE parts SET price = 3, size = 4.0
-- section: stricter
-- Refused by MySQL 8, which AgentBench runs, and not by MariaDB.
SELECT city FROM people GROUP BY city ORDER BY name
DELETE FROM people WHERE city = 0
UPDATE people SET age = 1 WHERE age = (SELECT MAX(age) FROM people)
DELETE FROM people WHERE name IN (SELECT name FROM people)
SELECT CAST(age AS INT) FROM people
SELECT CAST(age AS VARCHAR(10)) FROM people
SELECT 'open FROM people
